"""The parts of `make compare` on the toy generator, with a judge that sees brightness alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.compare import analyses, budgets, editability, rows
from benchmarks.compare import editors as moving
from benchmarks.compare.bench import Bench, Work
from benchmarks.compare.budgets import Budget
from benchmarks.compare.domains import Domain, PictureSet, drawn
from benchmarks.compare.families import Family
from benchmarks.compare.reconstruction import (
    AGREEMENT,
    IDENTITY,
    Inverted,
    invert,
    measured,
    rendered,
    state_bytes,
    without_rejects,
)
from benchmarks.compare.results import PICTURE
from benchmarks.compare.running import at_hand
from benchmarks.compare.store import Kept
from invertory.generators.toy import ToyGenerator
from invertory.inversion import METHODS
from invertory.perceptual import PixelPyramid
from invertory.pipelines.recipe.recipe import Recipe
from invertory.portraits import World
from invertory.resources.models import ModelStore

GENERATOR = ToyGenerator(resolution=32, frequencies=3)
TINY = Budget(common={"steps": 4, "learning_rate": 0.1})


class Bright:
    """A classifier of every attribute: each is said to be the brightness."""

    attributes = (*budgets.ATTRIBUTES, "light_skin")

    def scores(self, x: Tensor) -> Tensor:
        return torch.sigmoid(6 * x.mean((1, 2, 3)))[:, None].expand(-1, len(self.attributes))

    def embedding(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool2d(x, 8).flatten(1)


@pytest.fixture
def domain() -> Domain:
    recipe = {
        "name": "x",
        "collection": {"uri": "x"},
        "generator": {"name": "toy"},
        "methods": {name: {} for name in METHODS},
    }
    judge = cast("Any", Bright())
    return Domain(
        "portraits",
        GENERATOR,
        PixelPyramid(),
        [PixelPyramid()],
        [drawn("portraits", 6, budgets.HELD_OUT_SEED, World(), 32)],
        Recipe.model_validate(recipe),
        ModelStore(),
        classifier=judge,
        referee=judge,
    )


def test_the_picture_itself_is_perfect(domain: Domain) -> None:
    chosen = domain.sets[0]
    columns = measured(domain, chosen, chosen.targets)
    assert columns["MSE"].max() == 0
    assert columns["SSIM"].min() > 0.999
    np.testing.assert_allclose(columns[IDENTITY], 1, atol=1e-6)


def test_agreement_is_with_the_truth_of_the_portraits(domain: Domain) -> None:
    chosen = domain.sets[0]
    columns = measured(domain, chosen, torch.ones_like(chosen.targets))  # bright: all is there
    for name in budgets.ATTRIBUTES:
        truth = chosen.truth([name])[:, 0].numpy()
        np.testing.assert_array_equal(columns[f"{AGREEMENT}/{name}"], truth)
    each = [v for k, v in columns.items() if k.startswith(f"{AGREEMENT}/")]
    np.testing.assert_allclose(columns[AGREEMENT], np.mean(each, 0), atol=1e-6)


def test_an_arm_is_inverted_timed_and_drawn(domain: Domain) -> None:
    arm = TINY.arm("image2stylegan")
    targets = domain.sets[0].targets.clone()
    targets[1] = torch.nan
    found = invert(domain, arm, targets, batch=4, is_timed=True)
    assert found.seconds > 0
    assert found.is_finite.tolist() == [True, False, *[True] * 4]
    made = rendered(domain, arm, found, 32)
    assert state_bytes(found).tolist() == [0.0] * 6
    columns = without_rejects(measured(domain, domain.sets[0], made), found.is_finite)
    assert np.isnan(columns["MSE"]).tolist() == [False, True, *[False] * 4]


def test_an_arm_without_its_network_is_named_with_the_remedy(domain: Domain) -> None:
    arm = TINY.arm("hybrid")
    assert domain.networks(arm) is None
    assert "encoder" in domain.absent["hybrid"]
    assert "invertory train" in domain.absent["hybrid"]


def test_both_editors_add_what_the_classifier_sees(domain: Domain) -> None:
    arm = TINY.arm("image2stylegan")
    made = moving.editors(domain, domain.family(arm), num_samples=200)
    found = invert(domain, arm, domain.sets[0].targets, batch=6)
    images = rendered(domain, arm, found, 32)
    edited = editability.lacking(domain.sets[0], "smile")
    assert len(edited.rows) == len(edited.changed) > 0
    real = torch.randn(8, 48, generator=torch.Generator().manual_seed(0))
    for moves in made.moves.values():
        move = moves["smile"]
        columns = editability.scored_edit(
            domain, arm, domain.sets[0], found, images, edited, move, real
        )
        assert (columns["t/smile"] > 0).all()
        cycle = editability.cycled(domain, arm, found, edited, move, num=2, batch=2)
        for name in ("ECS/smile", "LEC/smile"):
            assert cycle[name].shape == columns["t/smile"].shape
            assert np.isfinite(cycle[name]).tolist() == [i < 2 for i in range(len(edited.rows))]
        np.testing.assert_array_equal(columns[f"{PICTURE}/smile"], edited.rows)


def test_lec_is_0_where_an_edit_is_inverted_exactly_and_taken_back(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exactly(domain: Domain, arm: Any, images: Tensor, *, batch: int) -> Inverted:
        w_plus = GENERATOR.invert_exactly(images)
        return Inverted(w_plus, {}, torch.ones(len(images), dtype=torch.bool), 0.0)

    monkeypatch.setattr(editability, "invert", exactly)
    arm, edited = TINY.arm("image2stylegan"), editability.lacking(domain.sets[0], "smile")
    rng = torch.Generator().manual_seed(0)
    shape = (len(domain.sets[0]), GENERATOR.num_ws, GENERATOR.w_dim)
    some = Inverted(0.1 * torch.randn(shape, generator=rng), {}, torch.ones(6).bool(), 0.0)
    columns = editability.cycled(
        domain, arm, some, edited, lambda w, x: w + 0.01 * x, num=3, batch=3
    )
    np.testing.assert_allclose(columns["LEC/smile"][:3], 0, atol=1e-4)
    monkeypatch.setattr(GENERATOR, "invert_exactly", lambda x: torch.zeros(len(x), *shape[1:]))
    constant = replace(some, w_plus=torch.zeros(shape))
    columns = editability.cycled(domain, arm, constant, edited, lambda w, x: w + x, num=3, batch=3)
    edit = budgets.EDIT_STEP * (GENERATOR.num_ws * GENERATOR.w_dim) ** 0.5
    np.testing.assert_allclose(columns["LEC/smile"][:3], edit, rtol=1e-5)
    assert np.isinf(columns[f"{editability.LEC_SHARE}/smile"][:3]).all()  # its codes do not differ


def test_a_network_that_cannot_be_loaded_has_failed_and_is_not_absent(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Family, arm: Any) -> dict[str, Any]:
        raise RuntimeError("expected a file of tensors")

    monkeypatch.setattr(Family, "networks", broken)
    assert at_hand(domain, [TINY.arm("hybrid")]) == []
    assert domain.failed == {"hybrid": "RuntimeError: expected a file of tensors"}
    assert domain.absent == {}


def test_what_decides_an_arm_holds_its_code_and_that_of_its_measures(domain: Domain) -> None:
    key = Bench(domain, Work()).key_of(TINY.arm("image2stylegan"))
    code = key["code"]
    assert "invertory/inversion/image2stylegan.py" in code
    assert "invertory/generators/toy.py" in code
    assert "benchmarks/compare/editability.py" in code
    assert "invertory/inversion/magec.py" not in code


def test_one_pass_inverts_every_edit_again_and_an_optimisation_the_first(domain: Domain) -> None:
    bench = Bench(domain, Work(cycles=2))
    assert bench.cycles(TINY.arm("image2stylegan")) == 2
    assert bench.cycles(TINY.arm("e4e")) == len(domain.sets[0])


def test_what_the_generator_does_not_draw_is_left_out(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bright, "scores", lambda self, x: torch.zeros(len(x), 6))
    family = domain.family(TINY.arm("image2stylegan"))
    made = moving.editors(domain, family, num_samples=64)
    assert not made.boundaries
    assert all(note.startswith("skipped") for note in made.notes.values())


def test_attributes_are_joined_under_the_bare_name() -> None:
    columns = {"t/smile": [1.0], "t/male": [2.0, 3.0], "ECS/male": [4.0, np.nan]}
    columns |= {f"{PICTURE}/smile": [0.0], f"{PICTURE}/male": [0.0, 5.0]}
    found = editability.joined({name: np.array(values) for name, values in columns.items()})
    assert found["t"].tolist() == [1.0, 2.0, 3.0]
    assert found[PICTURE].tolist() == [0, 0, 5]
    np.testing.assert_array_equal(found["ECS"], [np.nan, 4.0, np.nan])  # row for row


def test_boundaries_of_the_generator_are_fitted_for_what_it_shows(domain: Domain) -> None:
    family = domain.family(TINY.arm("image2stylegan"))
    found = moving.native_boundaries(domain, family, ["light_skin", "unheard_of"], 200)
    assert list(found) == ["light_skin"]


def test_both_methods_climb_to_both_losses(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analyses, "CODES", ("image2stylegan", "projector"))
    monkeypatch.setattr(analyses, "GOALS", {"a": "image2stylegan", "b": "projector"})
    common = {"steps": 4, "learning_rate": 0.1}
    budget = Budget(common=common, own={"projector": {"w_samples": 50}}, climb=(2, 4))
    found = analyses.to_quality(domain, budget, num=3, batch=3)
    assert list(found) == ["a", "b"]
    for goal, setter in (("a", "image2stylegan"), ("b", "projector")):
        assert list(found[goal]) == ["image2stylegan", "projector"]
        assert found[goal][setter][analyses.REACHED].all()  # by its usual steps at the latest


def test_edits_are_drawn_once_more_where_the_table_says_so(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_by, arm = [], TINY.arm("image2stylegan")

    def scored(bench: Bench, by: Any, *rest: Any) -> dict[str, Any]:
        drawn_by.append(by)
        return {"t/smile": np.ones(2), f"{PICTURE}/smile": np.arange(2.0)}

    monkeypatch.setattr(rows, "scored", scored)
    monkeypatch.setattr(rows, "cycled", lambda *_: {})
    domain.codes = domain.sets[0]
    bench, kept = Bench(domain, Work(samples=200)), Kept()
    found = invert(domain, arm, domain.sets[0].targets, batch=6)
    made = rendered(domain, arm, found, 32)
    rows.edit(bench, arm, domain.sets[0], found, made, kept)
    assert list(kept.columns) == ["edit/boundary", "edit/ganspace"]
    monkeypatch.setitem(budgets.REDRAWN, "image2stylegan", {"learning_rate": 0.2})
    drawn_by.clear()
    rows.edit(bench, arm, domain.sets[0], found, made, kept)
    assert f"edit/boundary{budgets.REDRAWN_AS}" in kept.columns
    rates = [by.parameters["learning_rate"] for by in drawn_by]
    assert rates == [0.1, 0.2, 0.1]  # boundaries twice, GANSpace once
    assert bench.key_of(arm)["redrawn"] == {"learning_rate": 0.2}


def test_held_out_seeds_draw_other_people_than_the_trainings() -> None:
    seeds = {budgets.HELD_OUT_SEED, budgets.OOD_SEED, budgets.CODES_SEED, budgets.SAMPLES_SEED}
    assert len(seeds) == 4
    assert not seeds & {0, 1, 2, 11, 12, 13}
    first = drawn("a", 1, budgets.HELD_OUT_SEED, World(), 16)
    assert isinstance(first, PictureSet)
    assert len(first) == 1
