"""A recipe: what it holds, where it comes from, and what is made from it."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from invertory.inversion import METHODS
from invertory.pipelines.recipe import attributes as recipe_attributes
from invertory.pipelines.recipe import edits as recipe_edits
from invertory.pipelines.recipe import sections as recipe_parts
from invertory.pipelines.recipe.recipe import RECIPES, Recipe, load_recipe, template
from invertory.resources.models import ModelStore


def test_three_keys_make_a_recipe(load, least):
    recipe = load(least)
    assert (recipe.name, recipe.collection.uris) == ("tiny", ("./pictures",))
    assert recipe.alignment.size_px == 256
    assert recipe.schedule is None


@pytest.mark.parametrize("name", ["faces", "portraits", "toy", "your_images"])
def test_the_recipes_of_the_repository_are_valid(name):
    assert load_recipe(RECIPES / f"{name}.yaml", ModelStore()).name == name


def test_every_line_of_the_template_that_is_commented_out_is_valid(load):
    text = re.sub(r"(?m)^( *)# ( *(?:- )?[a-z_0-9]+:.*)$", r"\1\2", template())
    recipe = load(text)
    assert set(recipe.model_fields_set) == set(Recipe.model_fields)
    assert {edit.attribute for edit in recipe.edits} == {"smile", "age"}


def test_every_key_of_every_part_says_what_it_is():
    modules = (recipe_parts, recipe_attributes, recipe_edits)
    parts = {Recipe, *(p for m in modules for p in vars(m).values() if _is_part(p))}
    bare = [
        f"{part.__name__}.{name}"
        for part in parts
        for name, about in part.model_fields.items()
        if not about.description and name != "scorer"
    ]
    assert len(parts) > 15
    assert bare == []


def _is_part(thing: object) -> bool:
    return isinstance(thing, type) and issubclass(thing, BaseModel) and thing is not BaseModel


def test_a_recipe_cannot_be_changed(load, least):
    recipe = load(least)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "other"  # type: ignore[misc]


def test_the_parameters_are_completed_with_the_defaults_of_the_method(load, least):
    recipe = load(least.replace("projector: ", "projector: {steps: 7}"))
    projector: Any = METHODS["projector"]
    assert recipe.methods["projector"] == dataclasses.asdict(projector(steps=7))
    assert recipe.method("projector") == projector(steps=7)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_registered_method_can_be_named(name, load, least):
    assert name in load(least.replace("projector", name)).methods


@pytest.mark.parametrize("part", list(Recipe.model_fields))
def test_a_part_can_be_written_as_json_and_read_back(part):
    value = load_recipe(RECIPES / "faces.yaml", ModelStore()).config_for(part)
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_an_unknown_part_is_refused():
    with pytest.raises(KeyError, match="it has name, description"):
        load_recipe(RECIPES / "toy.yaml", ModelStore()).config_for("alinment")


def test_another_collection_has_a_store_of_its_own(tmp_path):
    recipe = load_recipe(RECIPES / "toy.yaml", ModelStore())
    other = recipe.with_collection(str(tmp_path))
    assert other.collection.uris == (str(tmp_path),)
    assert other.collection.shard_size == recipe.collection.shard_size
    assert other.name.startswith("toy_")
    assert recipe.with_collection(str(tmp_path)) == other


def test_another_collection_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="got nothing there"):
        load_recipe(RECIPES / "toy.yaml", ModelStore()).with_collection(str(tmp_path / "absent"))


def test_addresses_keep_their_variables_until_they_are_opened(monkeypatch, load, least):
    monkeypatch.setenv("BUCKET", "photos")
    monkeypatch.setenv("HOME", "/home/me")
    text = least.replace("./pictures", '["s3://${BUCKET}/a", ~/b, c~]')
    uris = load(text).collection.uris
    assert uris == ("s3://${BUCKET}/a", "/home/me/b", "c~")
    assert [uri.opened for uri in uris] == ["s3://photos/a", "/home/me/b", "c~"]
