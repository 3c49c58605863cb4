"""A training's file: what it may say, and what is said of its mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from invertory.pipelines.recipe.errors import RecipeError
from invertory.pipelines.training import sections as training_parts
from invertory.pipelines.training import training as trainings
from invertory.pipelines.training.settings import settings_of
from invertory.pipelines.training.trainers import TRAINERS
from invertory.pipelines.training.training import (
    TRAININGS,
    TrainingSpec,
    all_trainings,
    changed,
    find_training,
    load_training,
    maker_of,
    valid_trainings,
)

LEAST = """\
name: tiny
trainer: classifier
data: {portraits: {num: 64}}
budget: {images: 128}
"""
Load = Callable[[str], TrainingSpec]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(text: str) -> TrainingSpec:
        path = tmp_path / "training.yaml"
        path.write_text(text)
        return load_training(path)

    return loaded


@pytest.fixture
def complaints(load: Load) -> Callable[[str], list[str]]:
    """Each problem as "line: text"."""

    def told(text: str) -> list[str]:
        with pytest.raises(RecipeError) as raised:
            load(text)
        return [f"{problem.line}: {problem.text}" for problem in raised.value.problems]

    return told


def test_four_keys_make_a_training(load):
    spec = load(LEAST)
    assert spec.named == {"classifier": "tiny"}
    assert (spec.data.kind, spec.licence, spec.resources.device) == (
        "portraits",
        "Apache-2.0",
        "auto",
    )


@pytest.mark.parametrize("path", sorted(TRAININGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_trainings_of_the_repository_are_valid(path):
    spec = load_training(path)
    assert spec.name == path.stem
    assert spec.description


def test_every_trainer_is_used_by_a_training_of_the_repository():
    assert {spec.trainer for spec in valid_trainings(TRAININGS)} == set(TRAINERS)


def test_what_a_training_of_the_repository_uses_is_made_by_another():
    specs = valid_trainings(TRAININGS)
    uris = [uri for spec in specs for uri in spec.uses.values() if "://" in uri]
    assert uris
    assert all(maker_of(uri, specs) for uri in uris)


def test_every_line_of_the_template_that_is_commented_out_is_valid(load):
    text = (TRAININGS / "your_images.yaml").read_text()
    whole = re.sub(r"(?m)^( *)# ( *(?:- )?[a-z_0-9]+:.*)$", r"\1\2", text)
    assert set(load(whole).model_fields_set) == set(TrainingSpec.model_fields)


def test_every_key_of_every_part_says_what_it_is():
    modules = (trainings, training_parts)
    parts = {part for module in modules for part in vars(module).values() if _is_part(part)}
    bare = [
        f"{part.__name__}.{name}"
        for part in parts
        for name, about in part.model_fields.items()
        if not about.description
    ]
    assert len(parts) > 6
    assert bare == []


def _is_part(thing: object) -> bool:
    is_class = isinstance(thing, type) and issubclass(thing, BaseModel)
    return is_class and thing.__module__ in (trainings.__name__, training_parts.__name__)


def test_all_mistakes_of_form_are_told_at_once_with_their_lines(complaints):
    text = """\
name: Tiny
trainer: classifier
data: {portraits: {nmu: 64, num: "64"}}
bugdet: {images: 128}
resources: {device: gpu}
"""
    assert complaints(text) == [
        "1: name: expected lower-case letters, digits and '_', got 'Tiny'",
        "1: the training needs 'budget'; add it",
        "3: data.portraits.num: expected a whole number, got '64'",
        "3: unknown key 'nmu' in data.portraits; did you mean 'num'?",
        "4: unknown key 'bugdet' in the training; did you mean 'budget'?",
        "5: resources.device: expected 'auto', 'cpu', 'cuda' or 'cuda:1', got 'gpu'",
    ]


def test_an_unknown_trainer_is_told_the_near_one(complaints):
    text = LEAST.replace("classifier", "clasifier")
    assert complaints(text) == ["2: unknown trainer 'clasifier'; did you mean 'classifier'?"]


def test_settings_are_those_of_the_trainer_at_any_depth(complaints):
    text = LEAST + "settings:\n  learning_rat: 0.1\n  augmentation: {mirored: 0}\n  seed: x\n"
    assert complaints(text) == [
        "6: unknown key 'learning_rat' in settings; did you mean 'learning_rate'?",
        "7: unknown key 'mirored' in settings.augmentation; did you mean 'mirrored'?",
        "8: settings.seed: expected a whole number, got 'x'",
    ]


def test_what_stands_elsewhere_is_no_setting(complaints):
    text = LEAST + "settings: {batch_size: 8}\n"
    assert complaints(text) == ["5: batch_size belongs in budget.batch_size; remove it here"]


def test_the_world_of_the_portraits_is_looked_at(complaints):
    text = LEAST.replace("num: 64", "num: 64, world: {rates: {glases: 0.5}}")
    (problem,) = complaints(text)
    assert problem.startswith("3: ")
    assert "glases" in problem
    text = LEAST.replace("num: 64", "num: 64, world: {odo: 1.0}")
    assert complaints(text) == [
        "3: unknown key 'odo' in data.portraits[0].world; did you mean 'ood'?"
    ]


def test_data_is_of_one_kind_and_of_one_that_the_trainer_takes(complaints):
    none = LEAST.replace("data: {portraits: {num: 64}}\n", "")
    assert complaints(none) == ["1: the trainer 'classifier' needs data: portraits; add it"]
    two = LEAST.replace("{portraits: {num: 64}}", "{portraits: {num: 64}, images: {uri: x}}")
    assert complaints(two) == [
        "3: data: expected one of portraits, images, pairs, got ['portraits', 'images']"
    ]
    other = LEAST.replace("{portraits: {num: 64}}", "{images: {uri: x}}")
    assert complaints(other) == ["3: the trainer 'classifier' takes data: portraits; got images"]


BOTH = """\
name: tiny
trainer: invertibility
data: {images: {uri: x, share: 3}, pairs: {num: 64}}
uses: {generator: toy, encoder: trained://e, perceptual: pixels}
budget: {images: 128}
"""


def test_images_and_pairs_are_taken_together_by_trainers_that_mix_them(load, complaints):
    spec = load(BOTH)
    assert spec.as_row()["data"] == "images and pairs"
    assert settings_of(spec).shares == (1.0, 3.0)  # pairs, which are plain, then images
    alone = BOTH.replace("{images: {uri: x, share: 3}, pairs: {num: 64}}", "{pairs: {num: 64}}")
    assert settings_of(load(alone)).shares == (1.0,)
    assert complaints(BOTH.replace("num: 64", "num: 64, size_px: 128")) == [
        "3: expected 64 px as the images' crops have, got 128"
    ]
    other = BOTH.replace("trainer: invertibility", "trainer: stylegan2").replace("uses", "#")
    assert complaints(other) == [
        "3: the trainer 'stylegan2' takes data: portraits or images; got images and pairs"
    ]


def test_sets_have_names_and_one_size(complaints):
    text = """\
name: tiny
trainer: classifier
data:
  portraits:
    - {num: 64, size_px: 32}
    - {num: 64, size_px: 64}
budget: {images: 128}
"""
    assert complaints(text) == [
        "6: expected 32 px as in the first set, got 64",
        "6: two sets are called 'portraits'; give each a name of its own",
    ]


def test_other_networks_are_those_that_the_trainer_needs(complaints):
    text = """\
name: tiny
trainer: conventional_encoder
data: {pairs: {num: 64}}
uses: {genrator: toy}
gives: {encodr: tiny}
budget: {images: 128}
"""
    assert complaints(text) == [
        "4: the trainer 'conventional_encoder' needs a generator: name its address, such as "
        "generator: trained://portraits_generator",
        "4: unknown key 'genrator' in uses of the trainer 'conventional_encoder'; did you mean "
        "'generator'?",
        "5: unknown key 'encodr' in gives; did you mean 'encoder'?",
    ]


def test_the_budget_and_the_shares_go_into_the_settings(load):
    settings = settings_of(load(LEAST + "settings: {augmentation: {mirrored: 0.0}}\n"))
    assert (settings.images, settings.shares) == (128, (1.0,))
    assert settings.augmentation.mirrored == 0


def test_a_nested_setting_changes_the_trainers_own_default_of_it(load):
    text = LEAST.replace("classifier", "landmarks") + "settings: {augmentation: {shift: 0.1}}\n"
    augmentation = settings_of(load(text)).augmentation
    assert (augmentation.shift, augmentation.turn_deg) == (0.1, 20.0)  # 4 in other trainings


def test_a_training_is_found_by_what_it_gives(monkeypatch, tmp_path):
    monkeypatch.setenv("INVERTORY_TRAININGS", str(tmp_path))
    (tmp_path / "tiny.yaml").write_text(LEAST + "gives: {classifier: judge}\n")
    assert find_training("judge").name == find_training("tiny").name == "tiny"
    assert find_training(str(tmp_path / "tiny.yaml")).name == "tiny"
    with pytest.raises(RecipeError, match="no such training; there are tiny"):
        find_training("jugde")


def test_a_broken_training_hides_no_other_and_names_are_given_once(tmp_path):
    (tmp_path / "a.yaml").write_text(LEAST)
    (tmp_path / "b.yaml").write_text(
        LEAST.replace("name: tiny", "name: b\ngives: {classifier: tiny}")
    )
    (tmp_path / "c.yaml").write_text("name: c\n")
    found = dict(all_trainings(tmp_path))
    assert [spec.name for spec in valid_trainings(tmp_path)] == ["tiny"]
    assert "'tiny' is made by a.yaml already" in str(found[tmp_path / "b.yaml"])
    assert "the training needs 'trainer'" in str(found[tmp_path / "c.yaml"])


def test_bundled_and_trained_addresses_lead_to_the_training(load):
    spec = load(LEAST)
    assert maker_of("trained://tiny", [spec]) is spec
    assert maker_of("bundled://tiny", [spec]) is spec
    assert maker_of("s3://bucket/tiny", [spec]) is None
    assert maker_of("trained://other", [spec]) is None


def test_the_command_line_changes_what_it_names_and_is_checked_as_well(load):
    spec = changed(load(LEAST), images=7, device="cpu", uses={})
    assert (spec.budget.images, spec.resources.device) == (7, "cpu")
    with pytest.raises(RecipeError, match=r"budget\.images: expected 1 or more, got 0"):
        changed(spec, images=0, device=None, uses={})
    with pytest.raises(RecipeError, match="unknown key 'generator' in uses"):
        changed(spec, images=None, device=None, uses={"generator": "toy"})
