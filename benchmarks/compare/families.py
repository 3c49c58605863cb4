"""A generator and the networks that were made for it; a method is measured with its own.

Most methods invert with the domain's generator. One that is trained together with a generator, as
InvGAN is, brings another: `Arm.generator` names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from benchmarks.compare.judges import CANNOT
from benchmarks.compare.store import digest_of
from invertory.pipelines.networks.load import load_generator, load_method_networks
from invertory.pipelines.networks.resolve import method_networks
from invertory.resources.models import ModelStore

if TYPE_CHECKING:
    from benchmarks.compare.budgets import Arm
    from invertory.generators import Generator
    from invertory.networks.linknet import LinkNet
    from invertory.pipelines.recipe.recipe import Recipe


@dataclass(slots=True)
class Family:
    """`name` is that of the generator's card, empty for the domain's own."""

    name: str
    generator: Generator
    recipe: Recipe
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _networks: dict[tuple[str, ...], dict[str, nn.Module]] = field(default_factory=dict)
    _linknet: list[LinkNet | None] = field(default_factory=list)  # empty until it is asked for

    @classmethod
    def named(cls, name: str, recipe: Recipe, device: torch.device) -> Family:
        """Of a carded generator; raises FileNotFoundError where it has no card."""
        models = ModelStore()
        try:
            source = models.card(name).source
        except CANNOT as error:
            stem = name.removesuffix("_generator")
            raise FileNotFoundError(f"{error}; `invertory train {stem}` makes it") from error
        choice = recipe.generator.model_copy(update={"name": "portraits", "weights": source})
        own = recipe.model_copy(update={"generator": choice})
        generator = cast("Any", load_generator(own, models)).to(device)
        return cls(name, generator, own, device)

    def networks(self, arm: Arm) -> dict[str, nn.Module]:
        """kind => network, on the device; raises FileNotFoundError with the remedy."""
        recipe = self.recipe.model_copy(update={"methods": {arm.method: dict(arm.parameters)}})
        wanted = method_networks(recipe, arm.method, ModelStore())
        if missing := [network.missing for network in wanted.values() if network.missing]:
            raise FileNotFoundError("; ".join(missing))
        key = tuple(f"{kind} {network.card.source}" for kind, network in sorted(wanted.items()))
        if key not in self._networks:
            found = load_method_networks(recipe, arm.method, ModelStore())
            self._networks[key] = {kind: n.to(self.device) for kind, n in found.items()}
        return self._networks[key]

    def linknet(self) -> LinkNet | None:
        """Whose directions MAGEC is trained with, where there is one for this generator."""
        if not self._linknet:
            self._linknet.append(self._load_linknet())
        return self._linknet[0]

    def _load_linknet(self) -> LinkNet | None:
        recipe = self.recipe.model_copy(update={"methods": {"magec": {}}})
        network = method_networks(recipe, "magec", ModelStore())["linknet"]
        if network.missing:
            return None
        wanted = {"linknet": network.card.source, "classifier": "auto"}
        recipe = self.recipe.model_copy(update={"methods": {"magec": wanted}})
        try:
            return cast("LinkNet", load_method_networks(recipe, "magec", ModelStore())["linknet"])
        except CANNOT:
            return None

    def digest(self) -> str:
        return digest_of(self.generator)
