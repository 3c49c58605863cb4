"""Loads the networks of a recipe, from their cards to the modules that a verb calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from invertory.pipelines.networks.generators import build_from_options, source_of
from invertory.pipelines.networks.resolve import (
    DETECTORS,
    FEATURE_NETWORKS,
    MESH,
    TRUNKS,
    generator_networks,
    method_networks,
    perceptual_name,
    perceptual_networks,
)
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.pinned import PINNED

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.inversion import Method
    from invertory.ops.streams import Verb
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.pinned import ModelCard
    from invertory.scoring import Scorer


def load_generator(recipe: Recipe, models: ModelStore) -> Generator:
    """The recipe's generator, frozen, on the CPU."""
    choice, source = recipe.generator, source_of(recipe.generator.name)
    if source.takes_options:
        return build_from_options(choice.name, choice.options)
    networks = generator_networks(recipe, models)
    return source.load(networks["generator" if choice.weights else source.weights].card, models)


def load_method(recipe: Recipe, name: str) -> Method:
    """The method with the parameters that the key and the footer of its latents name."""
    return cast("Method", recipe.method(name))


def load_method_networks(recipe: Recipe, name: str, models: ModelStore) -> dict[str, nn.Module]:
    """kind => network, for every kind that the method `name` needs; on the CPU."""
    return {
        kind: _network(network.card, models)
        for kind, network in method_networks(recipe, name, models).items()
    }


def load_perceptual(recipe: Recipe, models: ModelStore) -> Any:
    """The recipe's perceptual distance, on the CPU."""
    from invertory.perceptual import FeatureDistance, Lpips, PixelPyramid

    name = perceptual_name(recipe, models)
    if name == "pixels":
        return PixelPyramid()
    if name in FEATURE_NETWORKS:
        network = _network(perceptual_networks(recipe, models)[name].card, models)
        return FeatureDistance(network, f"{name}_features", size_px=size_of(network))
    card = PINNED[TRUNKS[name]]
    return Lpips("alex" if name == "lpips_alex" else "vgg", models.fetch(card.source, card.sha256))


def load_alignment(
    recipe: Recipe, models: ModelStore, read: Callable[[str], bytes], stack: contextlib.ExitStack
) -> Verb:
    """The verb that makes crops; `stack` closes its detectors."""
    from invertory.ops.align import Align, CentreCrop

    how, limits = recipe.alignment, recipe.limits
    if how.kind == "centre":
        return CentreCrop(read, how.size_px, crop_format=how.format, max_pixels=limits.max_pixels)
    return Align(
        read,
        _detector(recipe, models, stack),
        how.size_px,
        faces=how.faces,
        max_faces=how.max_faces,
        min_face_px=how.min_face_px,
        transform_size=how.transform_size,
        crop_format=how.format,
        max_pixels=limits.max_pixels,
    )


def load_scorer(recipe: Recipe, models: ModelStore, stack: contextlib.ExitStack) -> Scorer:
    """One scorer for every attribute that is scored on images; `stack` closes it."""
    from invertory.scoring import ScorerPanel

    scorers = dict(_scorers(recipe, models, stack))
    # in the order of the tables' columns
    return ScorerPanel({name: scorers[name] for name in recipe.scored})


def load_direction(uri: str, models: ModelStore, component: int | None) -> Any:
    from invertory.editing.directions import read_direction

    return read_direction(models.fetch(uri), component=component)


def on(network: Any, device: Any) -> Any:
    """The network on the device; an object without weights is returned as it is."""
    return network.to(device) if hasattr(network, "to") else network


def size_of(network: Any) -> int | None:
    """The side in px of a network's input images, where its configuration says it."""
    config = network.config
    given = config if isinstance(config, dict) else vars(config)
    names = ("size_px", "resolution", "img_resolution")
    return next((int(given[name]) for name in names if given.get(name)), None)


def _scorers(
    recipe: Recipe, models: ModelStore, stack: contextlib.ExitStack
) -> Iterator[tuple[str, tuple[Scorer, str]]]:
    """attribute => (scorer, its name for the attribute)."""
    from invertory.scoring import FaceScorer

    names = {n: how.score or n for n, how in recipe.attributes.items() if how.scorer == "mediapipe"}
    if names:
        card = PINNED["face-landmarker"]
        weights = models.fetch(card.source, card.sha256)
        face = stack.enter_context(FaceScorer(weights, sorted(set(names.values()))))
        yield from ((attribute, (face, score)) for attribute, score in names.items())
    yield from _classified(recipe, models)
    for attribute, how in recipe.attributes.items():
        if how.scorer in {"onnx", "torchscript"}:
            yield attribute, (_user_scorer(attribute, how, models), attribute)


def _classified(recipe: Recipe, models: ModelStore) -> Iterator[tuple[str, tuple[Scorer, str]]]:
    """The attributes of our own classifiers, each of which sees an image once."""
    from invertory.networks.classifier import ClassifierScorer

    chosen = {n: how for n, how in recipe.attributes.items() if how.scorer == "classifier"}
    for uri in dict.fromkeys(how.weights for how in chosen.values()):
        names = {n: how.score or n for n, how in chosen.items() if how.weights == uri}
        sha256 = next((how.sha256 for how in chosen.values() if how.weights == uri), None)
        weights, card = fetch_network(uri, models, sha256)
        network: Any = load_network(weights, card=card)
        scorer = ClassifierScorer(network, tuple(dict.fromkeys(names.values())))
        yield from ((attribute, (scorer, score)) for attribute, score in names.items())


def _user_scorer(attribute: str, how: Any, models: ModelStore) -> Scorer:
    """A classifier of the user's, as ONNX or TorchScript."""
    from invertory.scoring import ClassifierFormat, OnnxScorer, TorchScorer

    reading = ClassifierFormat(
        outputs={attribute: how.output},
        size_px=how.size_px,
        mean=how.mean,
        std=how.std,
        channels=how.channels,
        activation=how.activation,
    )
    kind = OnnxScorer if how.scorer == "onnx" else TorchScorer
    return kind(models.fetch(how.uri, how.sha256), reading)


def _network(card: ModelCard, models: ModelStore) -> nn.Module:
    """The network of a card, frozen, on the CPU."""
    if card.source.endswith(MESH):
        from invertory.face_mesh import MeshParser

        return MeshParser(models.fetch(card.source, card.sha256 or None))
    weights, card_file = fetch_network(card.source, models, card.sha256 or None)
    return load_network(weights, card=card_file)


def _detector(recipe: Recipe, models: ModelStore, stack: contextlib.ExitStack) -> Any:
    from invertory.landmarks import Dlib, YuNetMediaPipe

    cards = [PINNED[name] for name in DETECTORS[recipe.alignment.detector]]
    files = [models.fetch(card.source, card.sha256) for card in cards]
    if recipe.alignment.detector == "dlib":
        return Dlib(files[0])
    return stack.enter_context(YuNetMediaPipe(files[0], files[1]))
