"""Networks that judge images: perceptual distances and classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from invertory.pipelines.networks.load import load_perceptual, on
from invertory.pipelines.networks.resolve import (
    FEATURE_NETWORKS,
    TRUNKS,
    perceptual_name,
    perceptual_networks,
)
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

if TYPE_CHECKING:
    import torch

    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual
    from invertory.pipelines.recipe.recipe import Recipe

CANNOT = (OSError, ValueError, RuntimeError, ImportError)  # errors of a missing network
REFEREE = "trained://portraits_referee"


def distances(
    recipe: Recipe, models: ModelStore, absent: dict[str, str], device: torch.device
) -> tuple[Perceptual, list[Perceptual]]:
    """(the distance to minimise, all distances to measure, the former being the first).

    LPIPS is fetched if it is minimised, and also measured whenever its weights are available.
    """
    chosen = perceptual_name(recipe, ModelStore())
    found: dict[str, Perceptual] = {}
    is_portraits = recipe.generator.name == "portraits"  # photographs are foreign to the features
    own = FEATURE_NETWORKS if is_portraits else ()
    for word in dict.fromkeys((chosen, *own, "lpips_alex")):
        try:
            found[word] = on(_distance(recipe, word, models, may_fetch=word == chosen), device)
        except CANNOT as error:
            absent[f"distance {word}"] = str(error)
    if chosen not in found:
        other = f"; `--perceptual {FEATURE_NETWORKS[0]}` needs no download"
        way = other if chosen in TRUNKS else ""
        raise SystemExit(f"{chosen} is unavailable: {absent[f'distance {chosen}']}{way}")
    return found[chosen], list(found.values())


def classifier_at(
    name: str, models: ModelStore, absent: dict[str, str], device: torch.device
) -> AttributeClassifier | None:
    """A classifier by address or name of its card; None if missing, with the reason in `absent`."""
    try:
        uri = name if "://" in name or Path(name).is_file() else models.card(name).source
        weights, card = fetch_network(uri, models)
        return cast("AttributeClassifier", load_network(weights, card=card).to(device))
    except CANNOT as error:
        absent[name] = f"{error}; train a classifier with `invertory train`"
        return None


def referee_at(
    name: str,
    stand_in: AttributeClassifier | None,
    models: ModelStore,
    absent: dict[str, str],
    device: torch.device,
) -> AttributeClassifier | None:
    """The classifier that scores edits; falls back to the classifier F if it is missing."""
    referee = classifier_at(name, models, absent, device)
    if referee is None:
        absent[name] += "; the classifier F scores the edits instead"
    return referee or stand_in


def _distance(recipe: Recipe, word: str, models: ModelStore, *, may_fetch: bool) -> Perceptual:
    named = recipe.perceptual.model_copy(update={"name": word})
    named_recipe = recipe.model_copy(update={"perceptual": named})
    missing = [n.missing for n in perceptual_networks(named_recipe, models).values() if n.missing]
    if missing:
        raise FileNotFoundError(missing[0])
    if word in TRUNKS and not may_fetch and not models.is_available_offline(PINNED[TRUNKS[word]]):
        raise FileNotFoundError(f"it was not fetched; `--perceptual {word}` fetches it")
    return cast("Perceptual", load_perceptual(named_recipe, models))
