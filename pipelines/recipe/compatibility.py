"""Whether a recipe's methods fit each other's settings, the generator and the networks.

These checks build the methods, and so import torch. The generator is built from its card's
configuration on the device "meta", without weights. Networks without a card at hand are left out;
the method itself checks them once they are loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from invertory.pipelines.networks.generators import build_from_options, source_of
from invertory.pipelines.networks.resolve import generator_card, method_networks
from invertory.pipelines.recipe.catalogue import catalogue
from invertory.pipelines.recipe.choices import Finding, setting_findings, value_findings
from invertory.pipelines.recipe.errors import RecipeError, dotted
from invertory.pipelines.recipe.yaml_lines import Problem
from invertory.resources.checkpoints import network_card

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.pinned import ModelCard


def parameter_findings(recipe: Recipe, models: ModelStore) -> Iterator[Finding]:
    """Parameters that a method refuses though their names and types are right."""
    from invertory.inversion import METHODS

    for name, given in recipe.methods.items():
        settings, path = catalogue().methods.get(name), ("methods", name)
        if settings is None:
            if name in METHODS:
                yield path, f"the method {name!r} is not in the catalogue; run `make catalogue`"
        elif not any(setting_findings(settings, given, path)):
            yield from value_findings(METHODS[name], given, path)


def fit_findings(recipe: Recipe, models: ModelStore) -> Iterator[Finding]:
    """Parameters that ask for more than the generator or the networks have; fetches nothing."""
    yield from _findings(recipe, models, may_fetch=False)


def check_fit(recipe: Recipe, models: ModelStore) -> None:
    """The same for networks at any address, which must be at hand; raises `RecipeError`."""
    problems = [Problem(0, text) for _, text in _findings(recipe, models, may_fetch=True)]
    if problems:
        raise RecipeError(Path(recipe.name), problems)


def bare_generator(recipe: Recipe, models: ModelStore, *, may_fetch: bool) -> Generator | None:
    """The recipe's generator without its weights; None where its sizes are unknown."""
    import torch  # not needed for methods without a check

    choice, source = recipe.generator, source_of(recipe.generator.name)
    with suppress(KeyError, TypeError, ValueError):
        if source.takes_options:
            return build_from_options(choice.name, choice.options)
        built: Mapping[str, Any] = {"name": source.family}
        if choice.weights or not source.family:
            built = _architecture(generator_card(recipe, models), models, may_fetch=may_fetch)
        with torch.device("meta"):
            return build_from_options(built["name"], built.get("config", {}))
    return None


def _findings(recipe: Recipe, models: ModelStore, *, may_fetch: bool) -> Iterator[Finding]:
    checking = dict(_checking(recipe))
    if not checking:
        return
    generator = bare_generator(recipe, models, may_fetch=may_fetch)
    if generator is None:
        return
    for name, method in checking.items():
        configs = _configurations(recipe, name, models, may_fetch=may_fetch)
        try:
            method.check(generator, configs)
        except ValueError as error:
            path = ("methods", name)
            yield path, f"{dotted(path)}: {error}"


def _checking(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """The methods with a check, except those that other checks have refused."""
    from invertory.inversion import METHODS, SupportsCheck

    for name, given in recipe.methods.items():
        with suppress(KeyError, TypeError, ValueError):
            method = cast("Any", METHODS[name])(**given)
            if isinstance(method, SupportsCheck):
                yield name, method


def _configurations(
    recipe: Recipe, name: str, models: ModelStore, *, may_fetch: bool
) -> dict[str, Mapping[str, Any]]:
    """kind => the configuration on the card of each network of the method `name`."""
    configs: dict[str, Mapping[str, Any]] = {}
    for kind, network in method_networks(recipe, name, models).items():
        if network.missing:
            configs[kind] = {}
            continue
        architecture = _architecture(network.card, models, may_fetch=may_fetch)
        configs[kind] = architecture.get("config", architecture)
    return configs


def _architecture(card: ModelCard, models: ModelStore, *, may_fetch: bool) -> Mapping[str, Any]:
    """`architecture` of the card; for a file of the user's, of the card beside the file."""
    architecture: Any = json.loads(card.architecture or "{}")
    if not architecture and (may_fetch or "://" not in card.source):
        with suppress(OSError, ValueError, KeyError, ImportError):  # loading reports them
            architecture = network_card(card.source, models)["architecture"]
    return architecture if isinstance(architecture, Mapping) else {}
