"""The parts of `make compare` on the toy generator, with a judge that sees brightness alone."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.compare import budgets, editability
from benchmarks.compare.budgets import Budget
from benchmarks.compare.domains import Domain, PictureSet, drawn
from benchmarks.compare.reconstruction import (
    AGREEMENT,
    IDENTITY,
    invert,
    measured,
    rendered,
    state_bytes,
    without_rejects,
)
from invertory.generators.toy import ToyGenerator
from invertory.inversion import METHODS
from invertory.perceptual import PixelPyramid
from invertory.portraits import World
from pipelines.recipe import Recipe

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
    made = editability.editors(domain, domain.family(arm), num_samples=200)
    found = invert(domain, arm, domain.sets[0].targets, batch=6)
    pictures = rendered(domain, arm, found, 32)
    edited = editability.lacking(domain.sets[0], "smile")
    assert len(edited.rows) == len(edited.changed) > 0
    real = torch.randn(8, 48, generator=torch.Generator().manual_seed(0))
    for moves in made.moves.values():
        move = moves["smile"]
        columns = editability.scored_edit(
            domain, arm, domain.sets[0], found, pictures, edited, move, real
        )
        assert (columns["t/smile"] > 0).all()
        cycle = editability.cycled(domain, arm, found, edited, move, num=2, batch=2)
        assert np.isfinite(cycle["ECS/smile"]).all()


def test_what_the_generator_does_not_draw_is_left_out(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bright, "scores", lambda self, x: torch.zeros(len(x), 6))
    family = domain.family(TINY.arm("image2stylegan"))
    made = editability.editors(domain, family, num_samples=64)
    assert not made.boundaries
    assert all(told.startswith("left out") for told in made.told.values())


def test_attributes_are_joined_under_the_bare_name() -> None:
    found = editability.joined({"t/smile": np.array([1.0]), "t/male": np.array([2.0, 3.0])})
    assert found["t"].tolist() == [1.0, 2.0, 3.0]


def test_held_out_seeds_draw_other_people_than_the_trainings() -> None:
    seeds = {budgets.HELD_OUT_SEED, budgets.OOD_SEED, budgets.CODES_SEED, budgets.SAMPLES_SEED}
    assert len(seeds) == 4
    assert not seeds & {0, 1, 2, 11, 12, 13}
    first = drawn("a", 1, budgets.HELD_OUT_SEED, World(), 16)
    assert isinstance(first, PictureSet)
    assert len(first) == 1
