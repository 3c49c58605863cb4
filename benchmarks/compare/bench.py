"""Everything that arms share, created on first use, and the cache key of an arm."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from benchmarks.compare import budgets, editability, editors
from benchmarks.compare.reconstruction import embedding
from benchmarks.compare.sources import FOLLOWED, Sources
from benchmarks.compare.store import digest_of
from invertory.inversion import METHODS
from invertory.portraits import draw, render

if TYPE_CHECKING:
    from benchmarks.compare.budgets import Arm
    from benchmarks.compare.domains import Domain, PictureSet
    from benchmarks.compare.editability import Edited
    from benchmarks.compare.editors import Editors
    from benchmarks.compare.families import Family

# Modules that measure every arm or draw its images.
MEASURING: Final = (
    *(f"benchmarks.compare.{n}" for n in ("editability", "editors", "objects", "rows")),
    "benchmarks.compare.reconstruction",
    draw.__module__,
    render.__module__,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much of an arm is measured."""

    samples: int = budgets.NUM_SAMPLES
    cycles: int = 12  # edits per attribute inverted again; feed-forward methods: all
    batch: int = 32


@dataclass(slots=True)
class Bench:
    """A domain with the cached editors, edits and digests that arms share."""

    domain: Domain
    work: Work
    _editors: dict[str, Editors] = field(default_factory=dict)
    _edits: dict[tuple[str, str], Edited] = field(default_factory=dict)
    _real: Tensor | None = None
    _digests: dict[int, tuple[Any, str]] = field(default_factory=dict)
    _sources: Sources = field(default_factory=Sources)

    @property
    def has_edits(self) -> bool:
        return self.domain.classifier is not None and self.domain.codes is not None

    def cycles(self, arm: Arm) -> int:
        """Edits per attribute that are inverted again: all of them for feed-forward methods."""
        is_cheap = arm.build().kind == "feed_forward"
        return len(self.domain.sets[0]) if is_cheap else self.work.cycles

    def editors(self, family: Family) -> Editors:
        if family.name not in self._editors:
            made = editors.editors(self.domain, family, self.work.samples)
            self._editors[family.name] = made
        return self._editors[family.name]

    def lacking(self, chosen: PictureSet, attribute: str) -> Edited:
        key = (chosen.name, attribute)
        if key not in self._edits:
            self._edits[key] = editability.lacking(chosen, attribute)
        return self._edits[key]

    def real(self) -> Tensor:
        """Embeddings of real images, for the realism of edits."""
        if self._real is None:
            assert self.domain.codes is not None
            true = torch.cat([self.domain.sets[0].targets, self.domain.codes.targets])
            self._real = embedding(self.domain, true)
        return self._real

    def digest(self, network: Any) -> str:
        if id(network) not in self._digests:  # the reference keeps the id from being reused
            self._digests[id(network)] = (network, digest_of(network))
        return self._digests[id(network)][1]

    def judges(self) -> dict[str, Any]:
        domain = self.domain
        judges = {"loss": domain.loss, "classifier": domain.classifier, "referee": domain.referee}
        return judges | {f"measure {i}": measure for i, measure in enumerate(domain.measures)}

    def code(
        self, family: Family, modules: Iterable[str], networks: Iterable[Any] = ()
    ) -> dict[str, str]:
        """path => digest of the code: of the given modules, the networks and the measures."""
        taking_part = [family.generator, *networks, *self.judges().values()]
        classes = {name for network in taking_part for name in _modules_of(network)}
        return self._sources.digests([*MEASURING, *modules, *sorted(classes)])

    def key(self, family: Family) -> dict[str, Any]:
        """The part of the cache key that all arms of a family share, without the code."""
        domain = self.domain
        linknet = family.linknet() if self.has_edits else None
        return {
            "domain": domain.name,
            "generator": self.digest(family.generator),
            "linknet": self.digest(linknet) if linknet is not None else "",
            "judges": {name: self.digest(judge) for name, judge in self.judges().items()},
            "pictures": {chosen.name: (len(chosen), _sum(chosen)) for chosen in domain.sets},
            "codes": len(domain.codes) if domain.codes is not None else 0,
            "work": [self.work.samples, self.work.cycles, self.work.batch],
            "edits": [budgets.ATTRIBUTES, budgets.EDIT_STEP, dict(budgets.CYCLES)],
            "device": str(domain.device),
        }

    def key_of(self, arm: Arm) -> dict[str, Any]:
        """The cache key of an arm whose networks are available."""
        networks, family = self.domain.networks(arm) or {}, self.domain.family(arm)
        return {
            **self.key(family),
            "method": arm.method,
            "parameters": arm.parameters,
            "networks": {kind: self.digest(network) for kind, network in networks.items()},
            "is_cycled": is_cycled(arm),
            "redrawn": budgets.REDRAWN.get(arm.method, {}),
            "code": self.code(family, [METHODS[arm.method].__module__], networks.values()),
        }


def is_cycled(arm: Arm) -> bool:
    """Whether the edits of the arm are inverted again."""
    return not arm.is_ablation or arm.name in budgets.CYCLED_ABLATIONS


def _modules_of(network: Any) -> set[str]:
    """The modules of `invertory` that define the classes of a network and its children."""
    parts = network.modules() if isinstance(network, nn.Module) else [network]
    found = {type(part).__module__ for part in parts}
    return {name for name in found if name.split(".")[0] == FOLLOWED}


def _sum(chosen: PictureSet) -> float:
    """A checksum that distinguishes sets of images."""
    return float(chosen.targets.double().square().sum())
