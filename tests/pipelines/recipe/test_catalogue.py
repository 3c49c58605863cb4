"""The committed catalogue agrees with the registries: names, types, defaults, conditions, needs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest

from invertory.inversion import METHODS
from invertory.inversion.effect import effective
from invertory.pipelines.cataloguing import registered
from invertory.pipelines.recipe.catalogue import CATALOGUE, catalogue, default_values
from invertory.pipelines.recipe.choices import completed, network_addresses
from invertory.pipelines.recipe.errors import RecipeError
from invertory.pipelines.recipe.recipe import Recipe, load_recipe
from invertory.resources.models import ModelStore

TINY = {"name": "tiny", "collection": {"uri": "./images"}}
OTHERS: Mapping[str, tuple[Any, ...]] = {  # values of the types that list none
    "bool": (False, True),
    "int": (0, 1, 7),
    "float": (0.0, 0.5),
    "str": ("auto", "./network.safetensors"),
    "dict[str, str]": ({"hair": "finest"},),
    "tuple[str, ...]": ((), ("W+",), ("W+", "F6")),
}


def recipe_with(name: str, given: Mapping[str, Any]) -> Recipe:
    return Recipe.model_validate({**TINY, "methods": {name: given}})


def values_of(name: str, setting: str) -> tuple[Any, ...]:
    declared = catalogue().methods[name][setting]
    empty = ("",) if declared.default == "" else ()
    words = get_args(declared.hint) if get_origin(declared.hint) is Literal else ()
    return (*words, *empty, *OTHERS.get(declared.type, ()), declared.default)


def combinations(name: str) -> list[dict[str, Any]]:
    """The parameters of a method, one by one and in pairs with those that conditions name."""
    settings = catalogue().methods[name]
    asked = {condition[0] for one in settings.values() for condition in one.applies}
    asked |= {"spaces", "choice", "base", "over", "pivot", "identity"} & set(settings)
    singles = [{key: value} for key in settings for value in values_of(name, key)]
    return [{}, *singles] + [
        {**first, key: value}
        for first in singles
        for key in asked - set(first)
        for value in values_of(name, key)
    ]


def accepted(name: str) -> list[tuple[dict[str, Any], Any]]:
    """The combinations that the method itself accepts, with the method."""
    found = []
    for given in combinations(name):
        try:
            found.append((given, METHODS[name](**given)))
        except (ValueError, TypeError):
            continue
    return found


def test_the_committed_catalogue_is_that_of_the_registries() -> None:
    text = json.dumps(registered().as_json(), indent=1)
    assert CATALOGUE.read_text(encoding="utf-8") == f"{text}\n", "run `make catalogue`"
    assert catalogue() == registered()


@pytest.mark.parametrize("name", METHODS)
def test_a_recipe_is_completed_as_the_method_itself_would_be(name: str) -> None:
    cases = accepted(name)
    assert len(cases) > 10
    for given, method in cases:
        assert completed(recipe_with(name, {}), name, given) == asdict(effective(method)), given


@pytest.mark.parametrize("name", METHODS)
def test_the_networks_that_a_method_needs_follow_from_its_settings(name: str) -> None:
    for given, method in accepted(name):
        addresses = network_addresses(recipe_with(name, given), name)
        assert set(addresses) == set(method.needs), given
        assert addresses == {kind: getattr(method, kind) for kind in method.needs}, given


def test_defaults_are_not_shared() -> None:
    settings = catalogue().methods["sam"]
    default_values(settings)["class_spaces"]["hair"] = "F6"
    assert default_values(settings)["class_spaces"] == {}


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ("{projectr: {}}", "unknown method 'projectr'; did you mean 'projector'?"),
        ("{projector: {stepps: 3}}", "unknown key 'stepps' in methods.projector"),
        ("{projector: {steps: many}}", "methods.projector.steps: expected a whole number"),
    ],
)
def test_names_and_types_are_checked_without_the_methods(
    tmp_path: Path, methods: str, expected: str
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\ncollection: {uri: ./images}\ngenerator: {name: toy}\n"
        f"perceptual: {{name: pixels}}\nmethods: {methods}\n"
    )
    with pytest.raises(RecipeError) as error:
        load_recipe(path, ModelStore(), is_thorough=False)
    assert expected in str(error.value)


def test_a_value_that_only_the_method_refuses_is_left_to_the_thorough_checks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(
        "name: tiny\ncollection: {uri: ./images}\ngenerator: {name: portraits}\n"
        "perceptual: {name: pixels}\nmethods: {magec: {schedule: ramp}}\n"
    )
    load_recipe(path, ModelStore(), is_thorough=False)
    with pytest.raises(RecipeError, match="magec: expected schedule constant"):
        load_recipe(path, ModelStore())


def test_a_method_that_is_only_registered_gets_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METHODS, "brand_new", METHODS["projector"])
    path = tmp_path / "tiny.yaml"
    path.write_text("name: tiny\ncollection: {uri: ./images}\nmethods: {brand_new: {}}\n")
    with pytest.raises(RecipeError, match="not in the catalogue; run `make catalogue`"):
        load_recipe(path, ModelStore())
