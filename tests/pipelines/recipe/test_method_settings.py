"""What a recipe says of a method, what is computed with, and what key and footer name are one."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any, get_args

import pytest
import yaml

from invertory.inversion import METHODS
from invertory.inversion.effect import applies
from invertory.pipelines.networks.load import load_method
from invertory.pipelines.recipe import choices
from invertory.pipelines.recipe.catalogue import field_types
from invertory.pipelines.recipe.recipe import Recipe
from invertory.pipelines.tables.registry import chain_of
from invertory.resources.models import ModelStore

WORDS: dict[str, Any] = {  # where another number or word will not do
    "class_spaces": {"hair": "finest"},
    "fused": ("skin",),
    "identity": "./identity.safetensors",
    "spaces": ("W+", "F6"),
    "target_lpips": 0.1,
    "target_loss": 0.1,
}
BESIDE: dict[str, dict[str, Any]] = {  # what a setting takes to have an effect
    "class_spaces": {"choice": "classes"},
    "e4e": {"over": "e4e", "base": "e4e"},
    "encoder": {"over": "encoder", "pivot": "encoder"},
    "identity_weight": {"identity": "./identity.safetensors"},
    "learning_rate": {"rank": 0},
    "psp": {"over": "psp", "base": "psp"},
    "rampdown": {"schedule": "ramp"},
    "rampup": {"schedule": "ramp"},
    "restyle": {"base": "restyle"},
    "stored_rank": {"rank": 0},
}
REFUSED = {("magec", name) for name in ("schedule", "rampup", "rampdown")}  # its rate has decay
SETTINGS = [
    (name, setting.name)
    for name, method in METHODS.items()
    for setting in fields(method)  # type: ignore[arg-type]
    if (name, setting.name) not in REFUSED
]
IDLE = [
    (name, setting.name)
    for name, method in METHODS.items()
    for setting in fields(method)  # type: ignore[arg-type]
    if not applies(setting, method()) and setting.name != "stored_rank"  # refused beside a rank
]


def another(name: str, setting: str) -> Any:
    """A legal value that is not the default."""
    value, hint = getattr(METHODS[name](), setting), field_types(METHODS[name])[setting]
    if setting in WORDS:
        return WORDS[setting]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1 if isinstance(value, int) else 2 * value or 0.5
    words = [word for word in get_args(hint) if word != value]
    return words[0] if words else "./network.safetensors"


def recipe_of(name: str, given: dict[str, Any], **resources: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "collection": {"uri": "./images"},
        "generator": {"name": "portraits"},
        "perceptual": {"name": "pixels"},
        "methods": {name: given},
        "resources": resources,
    }


def completed(name: str, given: dict[str, Any], **resources: Any) -> Recipe:
    """As `load_recipe` completes a recipe, without a look for networks."""
    recipe = Recipe.model_validate(recipe_of(name, given, **resources))
    parameters = {name: choices.completed(recipe, name, recipe.methods[name])}
    return recipe.model_copy(update={"methods": parameters})


def as_json(value: Any) -> Any:
    return json.loads(json.dumps(value))


def in_footer(recipe: Recipe, name: str) -> Any:
    """`config` of the footer, which the key is made of."""
    return as_json(chain_of(recipe, ModelStore()).stage(f"latents/{name}").config)


@pytest.mark.parametrize(("name", "setting"), SETTINGS)
def test_a_setting_is_computed_with_as_the_footer_says(name: str, setting: str) -> None:
    taken = {f.name for f in fields(METHODS[name])}  # type: ignore[arg-type]
    beside = {k: v for k, v in BESIDE.get(setting, {}).items() if k in taken}
    value = another(name, setting)
    recipe = completed(name, {**beside, setting: value})
    method: Any = load_method(recipe, name)
    parameters = in_footer(recipe, name)["parameters"]
    assert getattr(method, setting) == value != getattr(METHODS[name](), setting)
    assert parameters[setting] == as_json(value)
    assert parameters == as_json(asdict(method))


@pytest.mark.parametrize(("name", "setting"), IDLE)
def test_a_setting_without_effect_stands_in_no_footer(name: str, setting: str) -> None:
    recipe = completed(name, {setting: another(name, setting)})
    plain = completed(name, {})
    assert load_method(recipe, name) == load_method(plain, name)
    assert in_footer(recipe, name) == in_footer(plain, name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    ("own", "of_recipe", "expected"),
    [
        ({}, {}, "float32"),
        ({}, {"precision": "bfloat16"}, "bfloat16"),
        ({"precision": "float32"}, {"precision": "bfloat16"}, "float32"),
        ({"precision": "bfloat16"}, {"precision": "float32"}, "bfloat16"),
        ({"precision": "bf16"}, {}, "bfloat16"),  # the former word
    ],
)
def test_a_methods_own_precision_comes_before_the_recipes(
    name: str, own: dict[str, Any], of_recipe: dict[str, Any], expected: str
) -> None:
    recipe = completed(name, own, **of_recipe)
    method: Any = load_method(recipe, name)
    config = in_footer(recipe, name)
    assert method.precision == expected
    assert (config["parameters"]["precision"], config["precision"]) == (expected, expected)


def test_what_nothing_computes_in_or_on_is_refused_with_its_line(complaints: Any) -> None:
    given = recipe_of("in_domain", {"precision": "float16"})
    text = yaml.safe_dump(given | {"resources": {"precision": "float16", "device": "mps"}})
    told = "\n".join(complaints(text))
    assert "resources.precision: expected 'float32' or 'bfloat16', got 'float16'" in told
    assert "resources.device: expected 'auto', 'cpu', 'cuda' or 'cuda:1', got 'mps'" in told
    assert "methods.in_domain.precision: expected 'float32' or 'bfloat16', got 'float16'" in told


def test_a_ramp_for_magec_is_refused_with_the_remedy(complaints: Any) -> None:
    text = yaml.safe_dump(recipe_of("magec", {"schedule": "ramp"}))
    assert any("the rate of magec falls by `decay`" in line for line in complaints(text))
