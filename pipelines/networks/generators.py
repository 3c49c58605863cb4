"""Where the generators that a recipe may name come from.

A generator of `invertory.generators.GENERATORS` needs no entry here where its recipes name an
address of weights with a card. `SOURCES` lists the others: those with default weights, those that
need no weights, and those that are not loaded by their card.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from invertory.resources.checkpoints import fetch_network, load_network

if TYPE_CHECKING:
    from pathlib import Path

    from invertory.generators import Generator
    from invertory.resources.models import ModelStore
    from invertory.resources.pinned import ModelCard

PREVIEW_HEAD: Final = "mobile_stylegan_preview"


def load_by_card(weights: ModelCard, models: ModelStore) -> Generator:
    """The generator that the card beside the weights describes; StyleGAN2 where it names none."""
    file, card = fetch_network(weights.source, models, weights.sha256 or None)
    return cast("Generator", load_network(file, "stylegan2", card=card))


def load_mobile_stylegan(weights: ModelCard, models: ModelStore) -> Generator:
    """From the package's OpenVINO files, or from safetensors and JSON written by `state_dict`."""
    from safetensors.torch import load_file

    from invertory.generators.mobile_stylegan import MobileStyleGAN
    from invertory.generators.preview import heads_from

    paths = models.fetch_all(weights.source, weights.sha256 or None)
    files: dict[str, Path] = {path.name: path for path in paths}
    names = [f"{n}Network.{s}" for n in ("Mapping", "Synthesis") for s in ("xml", "bin")]
    if names[0] in files:
        generator = MobileStyleGAN.from_openvino(*(files[name].read_bytes() for name in names))
    else:
        (file,) = paths
        generator = cast("MobileStyleGAN", load_network(file, default="mobile_stylegan"))
    head = models.fetch(f"bundled://{PREVIEW_HEAD}")
    return generator.attach_preview(*heads_from(load_file(head)))


@dataclass(frozen=True, kw_only=True)
class GeneratorSource:
    """How a generator is found and loaded."""

    weights: str = ""
    """Name of the card of its default weights; empty: the recipe names an address."""
    also: tuple[str, ...] = ()
    """Names of further networks that come with it."""
    takes_options: bool = False
    """It is built from the recipe's options, and has no weights."""
    family: str = ""
    """The family with its default sizes, where the card of the default weights has none."""
    load: Callable[[ModelCard, ModelStore], Generator] = load_by_card
    """Frozen, on the CPU, from the weights' card."""


SOURCES: Final[Mapping[str, GeneratorSource]] = {
    "portraits": GeneratorSource(weights="portraits_generator"),
    "mobile_stylegan": GeneratorSource(
        weights="mobile-stylegan-ffhq",
        also=(PREVIEW_HEAD,),
        family="mobile_stylegan",
        load=load_mobile_stylegan,
    ),
    "toy": GeneratorSource(takes_options=True),
}


def source_of(name: str) -> GeneratorSource:
    """The source of the generator that a recipe calls `name`."""
    return SOURCES.get(name, GeneratorSource())


def build_from_options(name: str, options: Mapping[str, Any]) -> Generator:
    """A generator without weights."""
    from invertory.generators import GENERATORS

    families: Mapping[str, Any] = GENERATORS
    return cast("Generator", families[name](**options))
