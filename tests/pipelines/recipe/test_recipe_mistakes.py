"""Mistakes in a recipe: all told at once, each with its line and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from invertory.pipelines.recipe.recipe import Recipe, RecipeError, all_recipes, load_recipe
from invertory.resources.models import ModelStore


def test_a_mistyped_key_is_named_with_its_line_and_the_near_match(complaints):
    text = "name: tiny\ncollection: {uri: x}\nmetods: {projector: }\ngenerator: {name: toy}\n"
    assert complaints(text) == [
        "1: the recipe needs 'methods'; add it (no encoder is known that was made for the "
        "generator 'toy')",
        "3: unknown key 'metods' in the recipe; did you mean 'methods'?",
    ]


def test_the_error_names_the_file_as_seen_from_here(tmp_path, monkeypatch, least):
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    path = Path("recipes/faces.yaml")
    path.write_text(least + "alinment: {}\n")
    expected = "recipes/faces.yaml:4: unknown key 'alinment' in the recipe"
    with pytest.raises(RecipeError, match=f"^{expected}; did you mean 'alignment'"):
        load_recipe(path, ModelStore())


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(complaints):
    text = """\
name: Tiny
collection: {uri: x, shard_size: "12"}
alignment: {kind: fhq, size_px: 12.5}
methods:
  projector: {stepps: 3}
  image2stylgan:
edits:
  - {attribute: smile, steps: [1]}
resources: {batch_size: 0}
"""
    assert complaints(text) == [
        "1: name: expected lower-case letters, digits and '_', got 'Tiny'",
        "2: collection.shard_size: expected a whole number, got '12'",
        "3: alignment.kind: expected 'ffhq' or 'centre', got 'fhq'; did you mean 'ffhq'?",
        "3: alignment.size_px: expected a whole number, got 12.5",
        "5: unknown key 'stepps' in methods.projector; did you mean 'steps'?",
        "6: unknown method 'image2stylgan'; did you mean 'image2stylegan'?",
        "8: edit of 'smile' has no entry in boundaries; add it there",
        "9: resources.batch_size: expected 1 or more, got 0",
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("generator: {name: mobile_stylgan}", "did you mean 'mobile_stylegan'?"),
        ("generator: {name: toy, options: {resolutoin: 32}}", "did you mean 'resolution'?"),
        ("generator: {sha256: abc}", "expected a sha256 of 64 hexadecimal digits, got 'abc'"),
        ("perceptual: {name: lpips_alx}", "did you mean 'lpips_alex'?"),
        ("attributes: {smile: {scorer: mediapip}}", "did you mean 'mediapipe'?"),
        ("attributes: {smiles: {scorer: mediapipe}}", "no score 'smiles'; did you mean 'smile'?"),
        ("attributes: {x: {scorer: mediapipe, score: yaw}}", "no score 'yaw'"),
        ("attributes: {x: {scorer: onnx, sha256: a}}", "attributes.x needs 'uri'; add it"),
        ("attributes: {x: {}}", "attributes.x needs 'scorer'; add it"),
        ("attributes: {x: {scorer: labels}}", "the collection has no labels of its own; name the"),
        ("attributes: {x: {scorer: labels, colum: y}}", "did you mean 'column'?"),
        ("generator: {name: portrait}", "did you mean 'portraits'?"),
        ("generator: {name: stylegan2}", "generator 'stylegan2' needs weights"),
        ("generator: {options: {seed: 1}}", "has its options from its weights' card"),
        ("perceptual: {name: portraits_classifer}", "did you mean 'portraits_classifier'?"),
        ("attributes: {Xy: {scorer: mediapipe, score: smile}}", "expected lower-case letters"),
        ("boundaries: {smile: }", "boundary 'smile' has no scorer in attributes; add it there"),
        ("boundaries: {age: {import: x, fit: samples}}", "unknown key 'fit' in boundaries.age"),
        ("edits: [{attribute: a, steps: [3, 3]}]", "edits[0].steps: 3 occurs twice; remove one"),
        ("edits: [{attribute: a, steps: []}]", "expected 1 or more of them"),
        ("edits: [{attribute: a, steps: [1], layers: 5-2}]", "expected rows that go up"),
        ("edits: [{attribute: a, steps: [1], layers: top}]", "rows such as '0-3,8', got 'top'"),
        ("export: {formats: [webdatset]}", "did you mean 'webdataset'?"),
        ("export: {counts: balancd}", "did you mean 'balanced'?"),
        ("schedule: {cron: '99 * * * *'}", "schedule.cron: expected minute hour day"),
        ("schedule: {cron: '0 2 * * *', timezone: Europe/Pari}", "did you mean 'Europe/Paris'?"),
        ("checks: {max_reject_share: 1.5}", "expected 1 or less, got 1.5"),
        ("checks: {min_psnr_db: .nan}", "expected a finite number, got nan"),
        ("resources: {device: gpu}", "'cuda' or 'cuda:1', got 'gpu'"),
        ("owner: somebody", "expected an e-mail address or 'team:name', got 'somebody'"),
        ("limits: {min_px: no}", "limits.min_px: expected a whole number, got 'no'"),
        ("limits: [1]", "limits: expected a mapping, got a list"),
    ],
)
def test_a_mistake_is_told_on_its_line(lines, expected, complaints, least):
    found = complaints(least + lines + "\n")
    assert all(text.startswith("4: ") for text in found)
    assert any(expected in text for text in found), found


def test_a_parameter_of_the_wrong_type_is_refused(complaints, least):
    text = least.replace("projector: ", "projector: {steps: many, preview: 1}")
    assert complaints(text) == [
        "3: methods.projector.preview: expected true or false, got 1",
        "3: methods.projector.steps: expected a whole number, got 'many'",
    ]


def test_an_unset_variable_is_an_error(monkeypatch, complaints, least):
    monkeypatch.delenv("BUCKET", raising=False)
    text = least.replace("./pictures", '["s3://${BUCKET}/a"]')
    assert complaints(text) == [
        "2: collection.uri[0]: expected 'BUCKET' in the environment, got nothing; set it"
    ]


def test_a_broken_recipe_does_not_hide_the_others(tmp_path, least):
    (tmp_path / "a.yaml").write_text("name: [")
    (tmp_path / "b.yaml").write_text(least)
    (tmp_path / "c.yml").write_text(least)
    (tmp_path / "d.yaml").write_bytes(b"\xff\xfe\xff")
    found = {path.name: recipe for path, recipe in all_recipes(tmp_path, models=ModelStore())}
    assert isinstance(found["b.yaml"], Recipe)
    assert "not YAML" in str(found["a.yaml"])
    assert "the name 'tiny' is taken by b.yaml" in str(found["c.yml"])
    assert "cannot be read as UTF-8 text" in str(found["d.yaml"])


def test_a_missing_recipe_names_those_that_exist(tmp_path, least):
    (tmp_path / "b.yaml").write_text(least)
    with pytest.raises(RecipeError, match="no such recipe; there are b"):
        load_recipe(tmp_path / "a.yaml", ModelStore())


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "words\n"])
def test_a_file_that_is_no_mapping_is_refused(text, complaints):
    (problem,) = complaints(text)
    assert "is empty" in problem or "expected a mapping" in problem
