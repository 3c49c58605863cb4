import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from invertory.inversion import METHODS
from pipelines import recipe_parts
from pipelines.recipe import (
    RECIPES,
    Recipe,
    RecipeError,
    all_recipes,
    load_recipe,
    template,
)
from pipelines.recipe_checks import CHECKS
from pipelines.yaml_lines import read

LEAST = "name: tiny\ncollection: {uri: ./pictures}\nmethods: {projector: }\n"


def loaded(tmp_path: Path, text: str) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_recipe(path)


def complaints(tmp_path: Path, text: str) -> list[str]:
    """Each problem as "line: text"."""
    with pytest.raises(RecipeError) as raised:
        loaded(tmp_path, text)
    return [f"{problem.line}: {problem.text}" for problem in raised.value.problems]


def test_three_keys_make_a_recipe(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, LEAST)
    assert (recipe.name, recipe.collection.uris) == ("tiny", ("./pictures",))
    assert recipe.alignment.size_px == 256
    assert recipe.schedule is None


@pytest.mark.parametrize("name", ["faces", "portraits", "toy", "your_images"])
def test_the_recipes_of_the_repository_are_valid(name: str) -> None:
    assert load_recipe(RECIPES / f"{name}.yaml").name == name


def test_every_line_of_the_template_that_is_commented_out_is_valid(tmp_path: Path) -> None:
    text = re.sub(r"(?m)^( *)# ( *(?:- )?[a-z_0-9]+:.*)$", r"\1\2", template())
    recipe = loaded(tmp_path, text)
    assert set(recipe.model_fields_set) == set(Recipe.model_fields)
    assert {edit.attribute for edit in recipe.edits} == {"smile", "age"}


def test_every_key_of_every_part_says_what_it_is() -> None:
    parts = [Recipe, *(p for p in vars(recipe_parts).values() if _is_part(p))]
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


def test_a_recipe_cannot_be_changed(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, LEAST)
    with pytest.raises(ValidationError, match="frozen"):
        recipe.name = "other"  # type: ignore[misc]


def test_a_mistyped_key_is_named_with_its_line_and_the_near_match(tmp_path: Path) -> None:
    text = "name: tiny\ncollection: {uri: x}\nmetods: {projector: }\ngenerator: {name: toy}\n"
    assert complaints(tmp_path, text) == [
        "1: the recipe needs 'methods'; add it (no encoder is known that was made for the "
        "generator 'toy')",
        "3: unknown key 'metods' in the recipe; did you mean 'methods'?",
    ]


def test_the_error_names_the_file_as_seen_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipes").mkdir()
    path = Path("recipes/faces.yaml")
    path.write_text(LEAST + "alinment: {}\n")
    expected = "recipes/faces.yaml:4: unknown key 'alinment' in the recipe"
    with pytest.raises(RecipeError, match=f"^{expected}; did you mean 'alignment'"):
        load_recipe(path)


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
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
    assert complaints(tmp_path, text) == [
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
        ("edits: [{attribute: a, steps: [3, 3]}]", "edits[0].steps: 3 stands twice"),
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
def test_a_mistake_is_told_on_its_line(tmp_path: Path, lines: str, expected: str) -> None:
    found = complaints(tmp_path, LEAST + lines + "\n")
    assert all(text.startswith("4: ") for text in found)
    assert any(expected in text for text in found), found


def test_a_parameter_of_the_wrong_type_is_refused(tmp_path: Path) -> None:
    text = LEAST.replace("projector: ", "projector: {steps: many, preview: 1}")
    assert complaints(tmp_path, text) == [
        "3: methods.projector.preview: expected true or false, got 1",
        "3: methods.projector.steps: expected a whole number, got 'many'",
    ]


def test_the_parameters_are_completed_with_the_defaults_of_the_method(tmp_path: Path) -> None:
    recipe = loaded(tmp_path, LEAST.replace("projector: ", "projector: {steps: 7}"))
    projector: Any = METHODS["projector"]
    assert recipe.methods["projector"] == dataclasses.asdict(projector(steps=7))
    assert recipe.method("projector") == projector(steps=7)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_registered_method_can_be_named(tmp_path: Path, name: str) -> None:
    assert name in loaded(tmp_path, LEAST.replace("projector", name)).methods


PAIRS = """\
attributes:
  smile: {scorer: mediapipe}
  yaw_deg: {scorer: mediapipe}
boundaries: {smile: , yaw_deg: , age: {import: bundled://age}}
"""


@pytest.mark.parametrize(
    ("augmentation", "expected"),
    [
        ("method: pti, target: yaw_deg, protected: smile", "the recipe has no method 'pti'"),
        ("method: projector, target: smile, protected: smile", "'smile' is the target"),
        ("method: projector, target: smle, protected: smile", "did you mean 'smile'?"),
        ("method: projector, target: age, protected: smile", "'age' has no scorer"),
        ("method: projector, target: yaw_deg, protected: smile, keep: [smile]", "remove it from"),
        ("method: projector, target: yaw_deg, protected: smile, threshold: {x: 1}", "neither"),
    ],
)
def test_an_augmentation_that_cannot_work_is_refused(
    tmp_path: Path, augmentation: str, expected: str
) -> None:
    text = LEAST + PAIRS + f"augmentation: {{{augmentation}}}\n"
    assert any(expected in text for text in complaints(tmp_path, text))


def test_an_imported_target_needs_a_plane(tmp_path: Path) -> None:
    text = LEAST + PAIRS.replace("yaw_deg: ,", "yaw_deg: {import: bundled://yaw%s},")
    text += "augmentation: {method: projector, target: yaw_deg, protected: smile}\n"
    assert "is a bare direction; give its boundary" in complaints(tmp_path, text % "")[0]
    assert loaded(tmp_path, text % ", calibrate: samples").augmentation


LABELLED = """\
attributes:
  smile: {scorer: mediapipe}
  male: {scorer: labels, uri: ./labels.csv}
boundaries: {smile: , male: {fit: %s}}
"""


def test_labels_say_nothing_of_draws(tmp_path: Path) -> None:
    assert loaded(tmp_path, LEAST + LABELLED % "collection").scored == ["smile"]
    (problem,) = complaints(tmp_path, LEAST + LABELLED % "samples")
    assert "use fit: collection, or another scorer" in problem


def test_a_partner_is_not_judged_by_labels(tmp_path: Path) -> None:
    text = LEAST + LABELLED % "collection"
    text += "augmentation: {method: projector, target: smile, protected: male}\n"
    assert "protected 'male' has labels only" in complaints(tmp_path, text)[0]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("num=0", "expected num from 1"),
        ("glases=1", "did you mean 'glasses'?"),
        ("size_px=3", "expected size_px from 16 to 2048 px, got 3"),
    ],
)
def test_portraits_that_cannot_be_drawn_are_refused(
    tmp_path: Path, query: str, expected: str
) -> None:
    text = LEAST.replace("./pictures", f'"portraits://?{query}"')
    (problem,) = complaints(tmp_path, text)
    assert problem.startswith("2: collection.uri: ") and expected in problem


def test_a_label_of_portraits_is_one_that_they_have(tmp_path: Path) -> None:
    text = LEAST.replace("./pictures", '"portraits://?num=1"')
    text += "attributes: {x: {scorer: labels, column: glases}}\n"
    (problem,) = complaints(tmp_path, text)
    assert "portraits:// has no column 'glases'; did you mean 'glasses'?" in problem


def test_counts_of_the_export_come_in_pairs(tmp_path: Path) -> None:
    text = LEAST + "export: {counts: {target: 2, both: %d}}\n"
    assert loaded(tmp_path, text % 2).export.counts == {"target": 2, "both": 2}
    assert complaints(tmp_path, text % 3) == [
        "4: export.counts: expected as many of 'target' as of 'both', as rows come in pairs; "
        "got 2 and 3"
    ]


def test_one_attribute_has_one_edit(tmp_path: Path) -> None:
    text = LEAST + PAIRS + "edits:\n" + "  - {attribute: age, steps: [1]}\n" * 2
    assert complaints(tmp_path, text) == [
        "10: 'age' is edited in edits[0] too; put all its steps there"
    ]


def test_an_absolute_step_moves_all_layers(tmp_path: Path) -> None:
    edit = "edits: [{attribute: age, steps: [1], mode: absolute, layers: 0-3}]\n"
    assert "use mode: relative" in complaints(tmp_path, LEAST + PAIRS + edit)[0]


def test_every_part_that_a_cross_check_needs_exists() -> None:
    assert {part for parts in CHECKS.values() for part in parts} <= set(Recipe.model_fields)


def test_kinds_of_boundaries_are_told_apart(tmp_path: Path) -> None:
    boundaries = loaded(tmp_path, LEAST + PAIRS).boundaries
    assert {name: how.fit for name, how in boundaries.items()} == {
        "smile": "samples",
        "yaw_deg": "samples",
        "age": "import",
    }


@pytest.mark.parametrize("part", list(Recipe.model_fields))
def test_a_part_can_be_written_as_json_and_read_back(part: str) -> None:
    value = load_recipe(RECIPES / "faces.yaml").config_for(part)
    assert json.loads(json.dumps(value, allow_nan=False)) == value


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(KeyError, match="it has name, description"):
        load_recipe(RECIPES / "toy.yaml").config_for("alinment")


def test_another_collection_has_a_store_of_its_own(tmp_path: Path) -> None:
    recipe = load_recipe(RECIPES / "toy.yaml")
    other = recipe.with_collection(str(tmp_path))
    assert other.collection.uris == (str(tmp_path),)
    assert other.collection.shard_size == recipe.collection.shard_size
    assert other.name.startswith("toy_")
    assert recipe.with_collection(str(tmp_path)) == other


def test_another_collection_must_exist(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="got nothing there"):
        load_recipe(RECIPES / "toy.yaml").with_collection(str(tmp_path / "absent"))


def test_addresses_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET", "photos")
    monkeypatch.setenv("HOME", "/home/me")
    text = LEAST.replace("./pictures", '["s3://${BUCKET}/a", ~/b, c~]')
    assert loaded(tmp_path, text).collection.uris == ("s3://photos/a", "/home/me/b", "c~")


def test_an_unset_variable_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUCKET", raising=False)
    text = LEAST.replace("./pictures", '["s3://${BUCKET}/a"]')
    assert complaints(tmp_path, text) == [
        "2: collection.uri[0]: no 'BUCKET' in the environment; set it, or write it out"
    ]


def test_a_broken_recipe_does_not_hide_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("name: [")
    (tmp_path / "b.yaml").write_text(LEAST)
    (tmp_path / "c.yml").write_text(LEAST)
    (tmp_path / "d.yaml").write_bytes(b"\xff\xfe\xff")
    found = {path.name: recipe for path, recipe in all_recipes(tmp_path)}
    assert isinstance(found["b.yaml"], Recipe)
    assert "not YAML" in str(found["a.yaml"])
    assert "the name 'tiny' is taken by b.yaml" in str(found["c.yml"])
    assert "cannot be read as UTF-8 text" in str(found["d.yaml"])


def test_a_missing_recipe_names_those_that_exist(tmp_path: Path) -> None:
    (tmp_path / "b.yaml").write_text(LEAST)
    with pytest.raises(RecipeError, match="no such recipe; there are b"):
        load_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize("text", ["", "# nothing\n", "- a\n", "words\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    (problem,) = complaints(tmp_path, text)
    assert "is empty" in problem or "expected a mapping" in problem


def test_yaml_scalars_follow_the_core_schema() -> None:
    text = "{a: no, b: 12:30, c: 1_000, d: 1e-3, e: 010, f: 2021-01-01, g: ~, h: '1', i: True}"
    assert read(text).value == {
        "a": "no", "b": "12:30", "c": 1000, "d": 1e-3, "e": 10, "f": "2021-01-01", "g": None,
        "h": "1", "i": True,
    }  # fmt: skip


def test_a_key_called_no_is_text() -> None:
    assert read("no: 1\non: 2\n").value == {"no": 1, "on": 2}


def test_anchors_and_merges_keep_their_lines() -> None:
    document = read("a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\nc: *a\n")
    assert document.value == {"a": {"x": 1}, "b": {"x": 1, "y": 2}, "c": {"x": 1}}
    assert (document.line(("b", "x")), document.line(("b", "y"))) == (2, 5)
    assert document.problems == []


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "key 'a' stands twice; first on line 1"),
        ("a: 1\n2: b\n", 2, "a key must be text, got 2"),
        ("a: !!python/object/apply:os.system [x]\n", 1, "is not understood"),
        ("a: !secret x\n", 1, "tag '!secret' is not understood"),
        ("a: &a [*a]\n", 1, "an anchor that contains itself"),
        ("a:\n  <<: [1]\n", 2, "'<<' merges mappings only"),
        ("a: 1\nb: [\n", 3, "not YAML"),
        ("a: 1\n---\nb: 1\n", 2, "not YAML"),
        ("[" * 5000, 1, "nested too deeply"),
        ("a: \0\n", 1, "not YAML"),
        ("a: 1e999\n", 1, "expected a finite number, got inf"),
    ],
)
def test_what_yaml_may_not_hold_is_told_with_its_line(text: str, line: int, expected: str) -> None:
    problem = read(text).problems[0]
    assert (problem.line, expected in problem.text) == (line, True), problem


def test_anchors_that_unfold_without_end_are_stopped() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    assert any("unfolds without end" in p.text for p in read("\n".join(lines)).problems)
