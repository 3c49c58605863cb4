"""Whether a recipe's methods fit its generator and networks, as far as cards tell.

A generator is built without weights, on the device "meta", from its card's configuration; what has
no card at hand is not asked about, and the method itself says so once it is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from invertory.pipelines.networks.resolve import generator_card, method_networks
from invertory.pipelines.recipe.choices import Finding, method_of, registry
from invertory.pipelines.recipe.errors import RecipeError, dotted
from invertory.pipelines.recipe.yaml_lines import Problem
from invertory.resources.checkpoints import network_card
from invertory.resources.models import ModelStore

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.pinned import ModelCard


def fit_findings(recipe: Recipe) -> Iterator[Finding]:
    """What methods ask for that generator or networks have not; nothing is fetched."""
    yield from _findings(recipe, ModelStore(), may_fetch=False)


def check_fit(recipe: Recipe, models: ModelStore) -> None:
    """The same of networks at any address, whose weights are at hand; raises `RecipeError`."""
    problems = [Problem(0, text) for _, text in _findings(recipe, models, may_fetch=True)]
    if problems:
        raise RecipeError(Path(recipe.name), problems)


def bare_generator(recipe: Recipe, models: ModelStore, *, may_fetch: bool) -> Generator | None:
    """The recipe's generator without its weights; None where its sizes are not known."""
    import torch  # recipes of other methods do without

    choice, families = recipe.generator, registry("invertory.generators", "GENERATORS")
    with suppress(KeyError, TypeError, ValueError):
        if choice.name == "toy":
            return cast("Generator", families["toy"](**choice.options))
        told = _architecture(generator_card(recipe), models, may_fetch=may_fetch)
        if choice.name == "mobile_stylegan" and not choice.weights:
            told = {"name": choice.name}  # the published sizes are the defaults
        with torch.device("meta"):
            return cast("Generator", families[told["name"]](**told.get("config", {})))
    return None


def _findings(recipe: Recipe, models: ModelStore, *, may_fetch: bool) -> Iterator[Finding]:
    checking = dict(_checking(recipe))
    if not checking:
        return
    generator = bare_generator(recipe, models, may_fetch=may_fetch)
    for name, method in checking.items():
        if generator is None:
            continue
        told = _configurations(recipe, name, models, may_fetch=may_fetch)
        try:
            method.check(generator, told)
        except ValueError as error:
            path = ("methods", name)
            yield path, f"{dotted(path)}: {error}"


def _checking(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """The methods that have a check, less those that are told to be wrong already."""
    kind = registry("invertory.inversion", "SupportsCheck")
    for name, given in recipe.methods.items():
        with suppress(KeyError, TypeError, ValueError):
            method = method_of(name, given)
            if isinstance(method, kind):
                yield name, method


def _configurations(
    recipe: Recipe, name: str, models: ModelStore, *, may_fetch: bool
) -> dict[str, Mapping[str, Any]]:
    """kind => what the card of the network says, for the method `name`."""
    found = {}
    for kind, network in method_networks(recipe, name).items():
        told = {} if network.missing else _architecture(network.card, models, may_fetch=may_fetch)
        found[kind] = told.get("config", told)
    return found


def _architecture(card: ModelCard, models: ModelStore, *, may_fetch: bool) -> Mapping[str, Any]:
    """`architecture` of the card; of a file of the user's, that of the card beside it."""
    told: Any = json.loads(card.architecture or "{}")
    if not told and (may_fetch or "://" not in card.source):
        with suppress(OSError, ValueError, KeyError, ImportError):  # told when it is loaded
            told = network_card(card.source, models)["architecture"]
    return told if isinstance(told, Mapping) else {}
