"""One row of the comparison: everything that is measured of one arm, and its pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.compare import budgets, editability, objects
from benchmarks.compare.reconstruction import (
    SECONDS,
    STATE,
    Inverted,
    embedding,
    invert,
    measured,
    rendered,
    state_bytes,
    without_rejects,
)
from benchmarks.compare.store import Kept, digest_of

if TYPE_CHECKING:
    from benchmarks.compare.budgets import Arm
    from benchmarks.compare.domains import Domain, PictureSet
    from benchmarks.compare.editability import Edited, Editors
    from benchmarks.compare.families import Family
    from benchmarks.compare.results import Values

REJECTS, OOD_EDITS = "rejects", "edit/objects"
SHOWN, SHOWN_OBJECTS = 8, 6  # pictures of a row of the sheets
KINDS_SHOWN = ("hat", "mask", "microphone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much is measured of an arm."""

    samples: int = budgets.NUM_SAMPLES
    cycles: int = 12
    batch: int = 32


@dataclass(slots=True)
class Bench:
    """A domain with what all arms share, each made when it is first asked for."""

    domain: Domain
    work: Work
    _editors: dict[str, Editors] = field(default_factory=dict)
    _edits: dict[tuple[str, str], Edited] = field(default_factory=dict)
    _real: Tensor | None = None
    _digests: dict[int, str] = field(default_factory=dict)

    @property
    def has_edits(self) -> bool:
        return self.domain.classifier is not None and self.domain.codes is not None

    def editors(self, family: Family) -> Editors:
        if family.name not in self._editors:
            made = editability.editors(self.domain, family, self.work.samples)
            self._editors[family.name] = made
        return self._editors[family.name]

    def lacking(self, chosen: PictureSet, attribute: str) -> Edited:
        key = (chosen.name, attribute)
        if key not in self._edits:
            self._edits[key] = editability.lacking(chosen, attribute)
        return self._edits[key]

    def real(self) -> Tensor:
        """Embeddings of true pictures, for the realism of edits."""
        if self._real is None:
            assert self.domain.codes is not None
            true = torch.cat([self.domain.sets[0].targets, self.domain.codes.targets])
            self._real = embedding(self.domain, true)
        return self._real

    def digest(self, network: Any) -> str:
        if id(network) not in self._digests:
            self._digests[id(network)] = digest_of(network)
        return self._digests[id(network)]

    def key(self, family: Family) -> dict[str, Any]:
        """What decides every measure: judges, pictures, how much is done."""
        domain = self.domain
        judges = {"loss": domain.loss, "classifier": domain.classifier, "referee": domain.referee}
        judges |= {f"measure {i}": measure for i, measure in enumerate(domain.measures)}
        linknet = family.linknet() if self.has_edits else None
        return {
            "domain": domain.name,
            "generator": self.digest(family.generator),
            "linknet": self.digest(linknet) if linknet is not None else "",
            "judges": {name: self.digest(judge) for name, judge in judges.items()},
            "pictures": {chosen.name: (len(chosen), _sum(chosen)) for chosen in domain.sets},
            "codes": len(domain.codes) if domain.codes is not None else 0,
            "work": [self.work.samples, self.work.cycles, self.work.batch],
            "edits": [budgets.ATTRIBUTES, budgets.EDIT_STEP, dict(budgets.CYCLES)],
            "device": str(domain.device),
        }

    def key_of(self, arm: Arm) -> dict[str, Any]:
        """Of an arm whose networks are at hand."""
        networks = self.domain.networks(arm) or {}
        return {
            **self.key(self.domain.family(arm)),
            "method": arm.method,
            "parameters": arm.parameters,
            "networks": {kind: self.digest(network) for kind, network in networks.items()},
            "is_cycled": is_cycled(arm),
        }


def measure(bench: Bench, arm: Arm) -> Kept:
    """Reconstructions and edits of every set, as columns and as pictures."""
    kept = Kept()
    for chosen in bench.domain.sets:
        if len(chosen):
            found, made = reconstructed(bench, arm, chosen, kept)
            if bench.has_edits:
                edit(bench, arm, chosen, found, made, kept)
    return kept


def reconstructed(
    bench: Bench, arm: Arm, chosen: PictureSet, kept: Kept
) -> tuple[Inverted, Tensor]:
    """The set's latents and pictures, measured."""
    domain, px = bench.domain, chosen.targets.shape[-1]
    found = invert(domain, arm, chosen.targets, batch=bench.work.batch, is_timed=True)
    made = rendered(domain, arm, found, px)
    columns = measured(domain, chosen, made)
    is_ood = chosen.objects is not None and bool(chosen.objects.any())
    if is_ood:
        assert chosen.objects is not None
        columns |= objects.errors(made, chosen.targets, chosen.objects)
        if objects.MASK in found.maps:
            columns |= objects.masked(found.maps[objects.MASK], chosen.objects)
    columns |= {STATE: state_bytes(found)}
    rejects = float((~found.is_finite).sum())
    own = {SECONDS: np.array([found.seconds]), REJECTS: np.array([rejects])}
    kept.columns[chosen.name] = without_rejects(columns, found.is_finite) | own
    rows = shown_rows(chosen)
    kept.pictures[chosen.name] = made[rows]
    for name, maps in found.maps.items():
        kept.pictures[f"{chosen.name}/{name}"] = _as_pictures(maps[rows], px)
    return found, made


def edit(
    bench: Bench, arm: Arm, chosen: PictureSet, found: Inverted, made: Tensor, kept: Kept
) -> None:
    """Through both editors; pictures with objects, and most ablations, by boundaries alone."""
    domain = bench.domain
    editors = bench.editors(domain.family(arm))
    is_first = chosen is domain.sets[0]
    for editor, moves in editors.moves.items():
        if editor != "boundary" and not (is_first and is_cycled(arm)):
            continue
        columns: dict[str, Values] = {}
        for name, move in moves.items():
            lacking = bench.lacking(chosen, name)
            columns |= editability.scored_edit(
                domain, arm, chosen, found, made, lacking, move, bench.real()
            )
            if is_first and name in budgets.CYCLES[editor] and is_cycled(arm):
                work = bench.work
                columns |= editability.cycled(
                    domain, arm, found, lacking, move, num=work.cycles, batch=work.batch
                )
        part = f"edit/{editor}" if is_first else OOD_EDITS
        if columns:
            kept.columns[part] = editability.joined(columns)
    if attribute := next(iter(editors.boundaries), None):
        kept.told["edited"] = attribute
        few = found.rows(_edited_rows(bench, chosen, attribute))
        w_plus = editors.moves["boundary"][attribute](few.w_plus, budgets.EDIT_STEP)
        px = chosen.targets.shape[-1]
        kept.pictures[f"{chosen.name}/edited"] = rendered(domain, arm, few, px, w_plus=w_plus)


def is_cycled(arm: Arm) -> bool:
    """Whether its edits are inverted once more."""
    return not arm.is_ablation or arm.name in budgets.CYCLED_ABLATIONS


def shown_rows(chosen: PictureSet) -> Tensor:
    """The pictures of the sheet: the first ones, or of each kind of object in turn."""
    if chosen.objects is None or not bool(chosen.objects.any()):
        return torch.arange(min(SHOWN, len(chosen)))
    by_kind = [(chosen.truth([kind])[:, 0] > 0.5).nonzero().flatten() for kind in KINDS_SHOWN]
    each = SHOWN_OBJECTS // len(KINDS_SHOWN)
    return torch.cat([rows[:each] for rows in by_kind])


def _edited_rows(bench: Bench, chosen: PictureSet, attribute: str) -> Tensor:
    """Of the sheet: the same pictures where there are objects, else such as lack the attribute."""
    if chosen is bench.domain.sets[0]:
        return bench.lacking(chosen, attribute).rows[:SHOWN]
    return shown_rows(chosen)


def _as_pictures(maps: Tensor, px: int) -> Tensor:
    """[n, 1, h, w] in [0, 1] => [n, 3, px, px] in [-1, 1]."""
    sized = interpolate(maps, (px, px), mode="bilinear") if maps.shape[-1] != px else maps
    return sized.expand(-1, 3, -1, -1) * 2 - 1


def _sum(chosen: PictureSet) -> float:
    """Tells sets of pictures apart."""
    return float(chosen.targets.double().square().sum())
