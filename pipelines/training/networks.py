"""The other networks that a training uses, fetched and identified by digest before it begins.

An address is that of weights with a card, or a word as recipes have it: a generator with default
weights, or a perceptual distance. A network at the address `perceptual` measures by its features.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from invertory.pipelines.errors.explain import explain_error
from invertory.pipelines.networks.generators import SOURCES
from invertory.pipelines.networks.resolve import (
    Network,
    WeightsError,
    generator_networks,
    perceptual_networks,
)
from invertory.pipelines.recipe.sections import GeneratorChoice, PerceptualChoice
from invertory.pipelines.recipe.types import Section
from invertory.resources.archives import digest as file_digest
from invertory.resources.checkpoints import fetch_network, load_network

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress
    from invertory.pipelines.training.training import TrainingSpec
    from invertory.resources.models import ModelStore

WORDS = {
    "generator": tuple(SOURCES),
    "perceptual": ("lpips_alex", "lpips_vgg", "pixels"),
}


@dataclass(frozen=True, kw_only=True)
class Used:
    """A network that a training uses; `name` is that of its file, or the recipe's word."""

    kind: str
    uri: str
    name: str
    sha256: str

    def load(self, models: ModelStore) -> Any:
        """Frozen, on the CPU; raises WeightsError where it does not match its card."""
        from invertory.pipelines.networks import load as loading

        if self.uri in WORDS.get(self.kind, ()):
            load = {"generator": loading.load_generator, "perceptual": loading.load_perceptual}
            return load[self.kind](_recipe(self.kind, self.uri), models)
        weights, card = fetch_network(self.uri, models)
        try:
            network = load_network(weights, card=card)
        except (OSError, ValueError) as error:
            raise WeightsError(f"{self.uri} cannot be used: {error}") from error
        return self._measuring(network) if self.kind == "perceptual" else network

    def _measuring(self, network: Any) -> Any:
        from invertory.perceptual import FeatureDistance
        from invertory.pipelines.networks.load import size_of

        return FeatureDistance(network, f"{self.name}_features", size_px=size_of(network))


def at_hand(spec: TrainingSpec, models: ModelStore, progress: Progress) -> dict[str, Used]:
    """kind => network, each fetched and verified; raises `WeightsError` where one is missing."""
    found: dict[str, Used] = {}
    with progress.download("weights") as received:
        for kind, uri in spec.uses.items():
            try:
                found[kind] = _fetched(kind, uri, models, received)
            except Exception as error:  # clients of object stores have exceptions of their own
                text = f"the {kind} of {spec.name} is unavailable: {explain_error(error, uri)}"
                raise WeightsError(text) from error
    return found


def _fetched(kind: str, uri: str, models: ModelStore, received: Any) -> Used:
    if uri not in WORDS.get(kind, ()):
        weights, _ = fetch_network(uri, models, progress=received)
        return Used(kind=kind, uri=uri, name=weights.stem, sha256=file_digest(weights))
    cards = [network.card for network in _files(kind, uri, models).values()]
    for card in cards:
        pinned = None if card.source.startswith("bundled://") else card.sha256
        models.fetch_all(card.source, pinned, progress=received)
    return Used(kind=kind, uri=uri, name=uri, sha256=" ".join(sorted(c.sha256 for c in cards)))


def _files(kind: str, word: str, models: ModelStore) -> dict[str, Network]:
    networks = {"generator": generator_networks, "perceptual": perceptual_networks}
    return networks[kind](_recipe(kind, word), models)


def _recipe(kind: str, word: str) -> Any:
    """A recipe's section of that kind, which names the generator or the distance."""
    choices: dict[str, type[Section]] = {
        "generator": GeneratorChoice,
        "perceptual": PerceptualChoice,
    }
    return SimpleNamespace(**{kind: choices[kind].model_validate({"name": word})})
