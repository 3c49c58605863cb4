"""The networks of methods on photographs of faces: which are found, and what is said without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from invertory.face_mesh import SEGMENTS, MeshParser
from invertory.pipelines.networks.load import load_method_networks
from invertory.pipelines.networks.resolve import WeightsError, method_networks, prefetch
from invertory.pipelines.recipe.recipe import Recipe, load_recipe
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """Nothing is at hand, and nothing may be fetched."""
    monkeypatch.setenv("INVERTORY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("INVERTORY_OFFLINE", "1")
    return ModelStore()


def recipe(folder: Path, **sam: Any) -> Recipe:
    path = folder / "recipe.yaml"
    told = {
        "name": "tiny",
        "collection": {"uri": str(folder)},
        "generator": {"name": "mobile_stylegan"},
        "perceptual": {"name": "pixels"},
        "alignment": {"kind": "centre", "size_px": 64},
        "methods": {"sam": sam},
    }
    path.write_text(yaml.safe_dump(told))
    return load_recipe(path, ModelStore())


def test_faces_find_their_parser_and_encoder(tmp_path, store):
    found = method_networks(recipe(tmp_path, choice="classes"), "sam", ModelStore())
    assert {kind: network.card.name for kind, network in found.items()} == {
        "encoder": "faces_encoder", "parser": "face-mesh-parser"
    }  # fmt: skip


def test_a_parser_may_be_named_by_its_card(tmp_path, store):
    found = method_networks(
        recipe(tmp_path, choice="classes", parser="face-mesh-parser"), "sam", ModelStore()
    )
    assert found["parser"].card == PINNED["face-mesh-parser"]


def test_without_a_predictor_the_remedy_is_told(tmp_path, store):
    found = method_networks(recipe(tmp_path), "sam", ModelStore())
    assert "methods: {sam: {invertibility: trained://NAME}}" in found["invertibility"].missing
    assert not found["parser"].missing


def test_a_parser_that_cannot_be_had_is_told_before_any_work(tmp_path, store, monkeypatch):
    def only_parser(recipe: Recipe, models: ModelStore) -> dict[str, Any]:
        return {"face-mesh-parser": method_networks(recipe, "sam", models)["parser"]}

    monkeypatch.setattr("invertory.pipelines.networks.resolve.networks_of", only_parser)
    with pytest.raises(WeightsError, match=r"face-mesh-parser is unavailable.*choice: pixels"):
        prefetch(recipe(tmp_path, choice="classes"), store, lambda *_: None)


@pytest.mark.download
def test_the_parser_is_loaded_and_segments_a_batch(tmp_path):
    models = ModelStore()
    try:
        models.fetch(PINNED["face-mesh-parser"].source)
    except Exception as error:
        pytest.skip(f"the weights face-mesh-parser could not be had: {error}")
    parser = load_method_networks(recipe(tmp_path, choice="classes"), "sam", models)["parser"]
    assert isinstance(parser, MeshParser) and parser.segments == SEGMENTS
    assert parser.segment(torch.zeros(2, 3, 64, 64)).shape == (2, 64, 64)
