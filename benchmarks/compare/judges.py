"""What judges pictures: distances by the words of a recipe, and classifiers by their cards."""

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

CANNOT = (OSError, ValueError, RuntimeError, ImportError)  # what a missing network raises
REFEREE = "trained://portraits_referee"


def distances(
    recipe: Recipe, absent: dict[str, str], device: torch.device
) -> tuple[Perceptual, list[Perceptual]]:
    """(what is minimised, all that is measured in, the first of which it is).

    LPIPS is fetched where it is what is minimised, and measured besides where it is at hand.
    """
    chosen = perceptual_name(recipe, ModelStore())
    found: dict[str, Perceptual] = {}
    is_portraits = recipe.generator.name == "portraits"  # photographs are foreign to the features
    own = FEATURE_NETWORKS if is_portraits else ()
    for word in dict.fromkeys((chosen, *own, "lpips_alex")):
        try:
            found[word] = on(_distance(recipe, word, may_fetch=word == chosen), device)
        except CANNOT as error:
            absent[f"distance {word}"] = str(error)
    if chosen not in found:
        other = f"; `--perceptual {FEATURE_NETWORKS[0]}` needs no download"
        way = other if chosen in TRUNKS else ""
        raise SystemExit(f"{chosen} is not at hand: {absent[f'distance {chosen}']}{way}")
    return found[chosen], list(found.values())


def classifier_at(
    name: str, absent: dict[str, str], device: torch.device
) -> AttributeClassifier | None:
    """A classifier by its address or the name on its card; else None, and why in `absent`."""
    models = ModelStore()
    try:
        uri = name if "://" in name or Path(name).is_file() else models.card(name).source
        weights, card = fetch_network(uri, models)
        return cast("AttributeClassifier", load_network(weights, card=card).to(device))
    except CANNOT as error:
        absent[name] = f"{error}; `invertory train` makes a classifier"
        return None


def referee_at(
    name: str, stand_in: AttributeClassifier | None, absent: dict[str, str], device: torch.device
) -> AttributeClassifier | None:
    """Who scores edits; the classifier itself where the one that is named is not at hand."""
    referee = classifier_at(name, absent, device)
    if referee is None:
        absent[name] += "; the classifier itself scores the edits in its place"
    return referee or stand_in


def _distance(recipe: Recipe, word: str, *, may_fetch: bool) -> Perceptual:
    models = ModelStore()
    named = recipe.perceptual.model_copy(update={"name": word})
    named_recipe = recipe.model_copy(update={"perceptual": named})
    missing = [n.missing for n in perceptual_networks(named_recipe).values() if n.missing]
    if missing:
        raise FileNotFoundError(missing[0])
    if word in TRUNKS and not may_fetch and not models.is_at_hand(PINNED[TRUNKS[word]]):
        raise FileNotFoundError(f"it was not fetched; `--perceptual {word}` fetches it")
    return cast("Perceptual", load_perceptual(named_recipe, models))
