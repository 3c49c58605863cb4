"""Methods that ask for what generator or networks have not: told before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from invertory.generators.f_space import f_spaces
from invertory.pipelines.recipe.compatibility import bare_generator, check_fit
from invertory.pipelines.recipe.recipe import Recipe, RecipeError
from invertory.resources.models import BUNDLED, ModelStore

PORTRAITS = """\
name: tiny
collection: {uri: ./pictures}
generator: {name: portraits}
perceptual: {name: pixels}
methods:
  projector:
  sam: %s
"""
needs_portraits = pytest.mark.skipif(
    not (BUNDLED / "portraits_parser.json").is_file(), reason="no bundled networks of portraits"
)


@needs_portraits
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("{spaces: [W+, F10]}", "got F10: a generator of 64 px has no finer"),
        ("{tau: -1}", "expected tau to be finite and 0 or more"),
        ("{choice: classes, class_spaces: {nose: F44}}", "got F44"),
        ("{choice: classes, class_spaces: {nose: F6}}", "got nose: name segments of the parser"),
        ("{choice: classes, class_spaces: {ood: F10}}", "got F10: choose one"),
        ("{fused: [nonsense]}", "got nonsense: name segments of the parser"),
    ],
)
def test_a_method_that_does_not_fit_is_told_with_its_line(settings, expected, complaints):
    (told,) = complaints(PORTRAITS % settings)
    assert told.startswith("7: methods.sam: expected") and expected in told


@needs_portraits
def test_methods_that_fit_are_valid(load):
    for settings in ("", "{spaces: [W+, F6], choice: pixels}", "{choice: classes}"):
        assert "sam" in load(PORTRAITS % settings).methods


def test_the_sizes_of_the_default_generator_are_known_without_its_weights(load, complaints, least):
    text = least.replace("projector: ", "sam: {spaces: [%s]}")
    assert load(text % "W+, F10").methods
    assert "got F10" in complaints(text % "W+, F10" + "generator: {name: toy}\n")[0]


def test_what_is_wrong_already_is_not_told_twice(complaints, least):
    text = least.replace("projector: ", "sam: {spacs: [F10]}") + "generator: {name: tooy}\n"
    assert [line.partition(":")[0] for line in complaints(text)] == ["3", "4"]
    unnamed = least.replace("projector: ", "sam: ") + "generator: {name: stylegan2}\n"
    assert "needs weights" in complaints(unnamed)[0]


def own(folder: Path, **sam: Any) -> Recipe:
    """A recipe on a generator of the user's, of 32 px, of which only the card is there."""
    config = {"img_resolution": 32, "z_dim": 8, "w_dim": 8, "num_layers": 1}
    card = {"architecture": {"name": "stylegan2", "config": config}}
    (folder / "own.json").write_text(json.dumps(card))
    (folder / "own.safetensors").touch()
    weights = f"memory://{folder.name}/own.safetensors" if sam.pop("is_far", False) else None
    return Recipe.model_validate({
        "name": "tiny",
        "collection": {"uri": str(folder)},
        "generator": {"name": "stylegan2", "weights": weights or str(folder / "own.safetensors")},
        "methods": {"sam": sam},
    })  # fmt: skip


def test_a_card_beside_the_users_weights_is_enough(tmp_path):
    recipe = own(tmp_path, spaces=("W+", "F4"))
    bare = bare_generator(recipe, ModelStore(), may_fetch=False)
    assert bare is not None and tuple(f_spaces(bare)) == ("F2", "F4")
    check_fit(recipe, ModelStore())
    with pytest.raises(RecipeError, match=r"^tiny: methods.sam: .*got F6: a generator of 32 px"):
        check_fit(own(tmp_path, spaces=("W+", "F6")), ModelStore())


def test_a_card_far_away_is_looked_at_only_where_it_may_be_fetched(tmp_path, monkeypatch):
    import fsspec

    monkeypatch.setenv("INVERTORY_CACHE", str(tmp_path / "cache"))
    recipe = own(tmp_path, spaces=("W+", "F6"), is_far=True)
    memory = fsspec.filesystem("memory")
    for name in ("own.json", "own.safetensors"):
        memory.pipe(f"/{tmp_path.name}/{name}", (tmp_path / name).read_bytes())
    assert bare_generator(recipe, ModelStore(), may_fetch=False) is None
    with pytest.raises(RecipeError, match="got F6"):
        check_fit(recipe, ModelStore())


def test_a_generator_of_no_known_sizes_is_left_to_the_method(tmp_path):
    recipe = own(tmp_path, spaces=("W+", "F6"))
    (tmp_path / "own.json").write_text("{}")
    check_fit(recipe, ModelStore())


@needs_portraits
def test_a_run_ends_before_any_table_is_written(place):
    (place.folder / "tiny.yaml").write_text(PORTRAITS % "{spaces: [W+, F10]}")
    code, _, errors = place.invertory("run", "tiny.yaml")
    assert code == 2 and "tiny.yaml:7: methods.sam" in errors and "got F10" in errors
    assert not (place.folder / "store").exists()
    assert place.invertory("recipes", "check", "tiny.yaml")[0] == 2
