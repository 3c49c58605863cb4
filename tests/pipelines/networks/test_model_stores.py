"""The model store that a caller passes is the one whose cards and settings count."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from invertory.pipelines.networks.resolve import networks_of, perceptual_name
from invertory.pipelines.recipe.errors import RecipeError
from invertory.pipelines.recipe.recipe import Recipe, load_recipe
from invertory.pipelines.tables.registry import chain_of
from invertory.resources.models import ModelStore
from invertory.resources.sources import ImageSource

HOUSE = Path(__file__).parents[3]
OWN = (
    "name: tiny\ncollection: {uri: ./images}\ngenerator: {name: toy}\nperceptual: {name: pixels}\n"
)
AUTO = {"name": "tiny", "collection": {"uri": "./images"}, "methods": {"projector": {}}}


def train_encoder(store: ModelStore, sha256: str) -> None:
    """A card as a training leaves it."""
    card = {"kind": "encoder", "generator": "toy", "sha256": sha256, "architecture": {}}
    store.trained().mkdir(parents=True)
    store.trained().joinpath("toy_encoder.json").write_text(json.dumps(card))


def test_only_the_world_makes_a_model_store() -> None:
    makers = {
        path.relative_to(HOUSE).as_posix()
        for folder in ("pipelines", "ops", "resources")
        for path in (HOUSE / folder).rglob("*.py")
        if re.search(r"\bModelStore\(", re.sub(r"class ModelStore\(", "", path.read_text()))
    }
    assert makers == {"pipelines/world.py"}


def test_a_recipe_is_completed_from_the_cards_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(OWN)
    store, other = ModelStore(cache=str(tmp_path / "a")), ModelStore(cache=str(tmp_path / "b"))
    train_encoder(store, "a" * 64)
    assert list(load_recipe(path, store).methods) == ["in_domain"]
    with pytest.raises(RecipeError, match="needs 'methods'"):
        load_recipe(path, other)


def test_keys_depend_on_the_digests_of_the_store(tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(OWN)
    digests = set()
    for word in "ab":
        store = ModelStore(cache=str(tmp_path / word))
        train_encoder(store, word * 64)
        recipe = load_recipe(path, store)
        digests |= set(chain_of(recipe, store).stage("latents/in_domain").models.values())
        assert "trained://toy_encoder" in {
            network.card.source for network in networks_of(recipe, store).values()
        }
    assert digests == {"a" * 64, "b" * 64}


def test_offline_of_the_store_chooses_the_distance(tmp_path: Path) -> None:
    recipe, cache = Recipe.model_validate(AUTO), str(tmp_path)
    assert perceptual_name(recipe, ModelStore(cache=cache, offline=True)) == "portraits_classifier"


def test_a_source_takes_its_archives_from_the_store_that_it_is_given(tmp_path: Path) -> None:
    uri = "pypi://scikit-image==0.25.2#skimage/data/astronaut.png"
    offline = ModelStore(cache=str(tmp_path), offline=True)
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))):
        list(ImageSource(uri=uri, models=offline).entries())
    with pytest.raises(ValueError, match="expected a model store"):
        list(ImageSource(uri=uri).entries())


@pytest.mark.parametrize("generator", ["{name: stylegan2}", "{name: nobody}"])
def test_a_generator_without_weights_is_a_mistake_and_no_crash(
    tmp_path: Path, generator: str
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(f"name: tiny\ncollection: {{uri: ./images}}\ngenerator: {generator}\n")
    with pytest.raises(RecipeError, match=r"needs weights|unknown generator"):
        load_recipe(path, ModelStore(cache=str(tmp_path)))
