"""What parts of a recipe demand of each other: attributes, boundaries, edits, partners, export."""

from __future__ import annotations

import pytest

from invertory.pipelines.recipe.recipe import Recipe
from invertory.pipelines.recipe.validate import CHECKS

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
def test_an_augmentation_that_cannot_work_is_refused(augmentation, expected, complaints, least):
    text = least + PAIRS + f"augmentation: {{{augmentation}}}\n"
    assert any(expected in text for text in complaints(text))


def test_an_imported_target_needs_a_plane(load, complaints, least):
    text = least + PAIRS.replace("yaw_deg: ,", "yaw_deg: {import: bundled://yaw%s},")
    text += "augmentation: {method: projector, target: yaw_deg, protected: smile}\n"
    assert "is a bare direction; give its boundary" in complaints(text % "")[0]
    assert load(text % ", calibrate: samples").augmentation


def test_kinds_of_boundaries_are_told_apart(load, least):
    boundaries = load(least + PAIRS).boundaries
    assert {name: how.fit for name, how in boundaries.items()} == {
        "smile": "samples",
        "yaw_deg": "samples",
        "age": "import",
    }


LABELLED = """\
attributes:
  smile: {scorer: mediapipe}
  male: {scorer: labels, uri: ./labels.csv}
boundaries: {smile: , male: {fit: %s}}
"""


def test_labels_say_nothing_of_draws(load, complaints, least):
    assert load(least + LABELLED % "collection").scored == ["smile"]
    (problem,) = complaints(least + LABELLED % "samples")
    assert "use fit: collection, or another scorer" in problem


def test_a_partner_is_not_judged_by_labels(complaints, least):
    text = least + LABELLED % "collection"
    text += "augmentation: {method: projector, target: smile, protected: male}\n"
    assert "protected 'male' has labels only" in complaints(text)[0]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("num=0", "expected num from 1"),
        ("glases=1", "did you mean 'glasses'?"),
        ("size_px=3", "expected size_px from 16 to 2048 px, got 3"),
    ],
)
def test_portraits_that_cannot_be_drawn_are_refused(query, expected, complaints, least):
    text = least.replace("./pictures", f'"portraits://?{query}"')
    (problem,) = complaints(text)
    assert problem.startswith("2: collection.uri: ") and expected in problem


def test_a_label_of_portraits_is_one_that_they_have(complaints, least):
    text = least.replace("./pictures", '"portraits://?num=1"')
    text += "attributes: {x: {scorer: labels, column: glases}}\n"
    (problem,) = complaints(text)
    assert "portraits:// has no column 'glases'; did you mean 'glasses'?" in problem


def test_counts_of_the_export_come_in_pairs(load, complaints, least):
    text = least + "export: {counts: {target: 2, both: %d}}\n"
    assert load(text % 2).export.counts == {"target": 2, "both": 2}
    assert complaints(text % 3) == [
        "4: export.counts: expected as many of 'target' as of 'both', as rows come in pairs; "
        "got 2 and 3"
    ]


def test_one_attribute_has_one_edit(complaints, least):
    text = least + PAIRS + "edits:\n" + "  - {attribute: age, steps: [1]}\n" * 2
    assert complaints(text) == ["10: 'age' is edited in edits[0] too; put all its steps there"]


def test_an_absolute_step_moves_all_layers(complaints, least):
    edit = "edits: [{attribute: age, steps: [1], mode: absolute, layers: 0-3}]\n"
    assert "use mode: relative" in complaints(least + PAIRS + edit)[0]


def test_every_part_that_a_cross_check_needs_exists():
    assert {part for parts in CHECKS.values() for part in parts} <= set(Recipe.model_fields)
