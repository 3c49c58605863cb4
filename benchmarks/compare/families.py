"""Generators with the networks made for them; each method is measured with its own.

Most methods use the generator of the domain. Methods that are trained together with a generator,
such as InvGAN, have another one, named by `Arm.generator`.
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
    """A generator and its networks; `name` is that of its card, empty for the domain's own."""

    name: str
    generator: Generator
    recipe: Recipe
    models: ModelStore
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    _networks: dict[tuple[str, ...], dict[str, nn.Module]] = field(default_factory=dict)
    _linknet: list[LinkNet | None] = field(default_factory=list)  # loaded on first use

    @classmethod
    def named(cls, name: str, recipe: Recipe, models: ModelStore, device: torch.device) -> Family:
        """The family of the generator with this card; raises FileNotFoundError if there is none."""
        try:
            source = models.card(name).source
        except CANNOT as error:
            stem = name.removesuffix("_generator")
            raise FileNotFoundError(f"{error}; train it with `invertory train {stem}`") from error
        choice = recipe.generator.model_copy(update={"name": "portraits", "weights": source})
        own = recipe.model_copy(update={"generator": choice})
        generator = cast("Any", load_generator(own, models)).to(device)
        return cls(name, generator, own, models, device)

    def networks(self, arm: Arm) -> dict[str, nn.Module]:
        """kind => network, on the device; FileNotFoundError with the remedy if one is missing."""
        recipe = self.recipe.model_copy(update={"methods": {arm.method: dict(arm.parameters)}})
        wanted = method_networks(recipe, arm.method, ModelStore())
        if missing := [network.missing for network in wanted.values() if network.missing]:
            raise FileNotFoundError("; ".join(missing))
        key = tuple(f"{kind} {network.card.source}" for kind, network in sorted(wanted.items()))
        if key not in self._networks:
            found = load_method_networks(recipe, arm.method, self.models)
            self._networks[key] = {kind: n.to(self.device) for kind, n in found.items()}
        return self._networks[key]

    def linknet(self) -> LinkNet | None:
        """The LinkNet of this generator, if it has one."""
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
            return cast("LinkNet", load_method_networks(recipe, "magec", self.models)["linknet"])
        except CANNOT:
            return None

    def digest(self) -> str:
        return digest_of(self.generator)
