"""The claims of `make compare` on results that are made up, so that the verdict is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.compare import __main__ as command
from benchmarks.compare.analyses import CLIMB, GOALS, REACHED, seconds_to
from benchmarks.compare.claims import (
    CLAIMS,
    best_edits,
    better,
    edits_better,
    faster,
    judge,
    regularised,
)
from benchmarks.compare.editability import COSINE, ECS, ERROR, REALISM, T
from benchmarks.compare.evidence import difference
from benchmarks.compare.reconstruction import AGREEMENT, SECONDS
from benchmarks.compare.results import NotMeasuredError, Results, Values

NOISE = np.random.default_rng(0).normal(0, 0.01, 40)
LAMBDA_0, WITHOUT = "in_domain, lambda_dom 0", "magec, without its term"


def values(mean: float, num: int = 40) -> Values:
    return mean + np.resize(NOISE, num) * (1 + 0.1 * mean)


def magec(t: float, ecs: float, mse: float) -> Results:
    """With its term t and ECS as given, without 0.3 and 0.8; MSE of 0.05 without."""
    results = Results()
    for arm, measures in {"magec": (t, ecs, mse), WITHOUT: (0.3, 0.8, 0.05)}.items():
        results.put("portraits", arm, {"MSE": measures[2] + NOISE / 100})
        shuffled = np.roll(NOISE, len(arm))  # differences of the arms then vary from row to row
        results.put("edit/boundary", arm, {T: measures[0] + shuffled, ECS: measures[1] + shuffled})
    return results


def test_a_lower_error_is_held_only_with_the_claimed_sign() -> None:
    results = Results()
    results.put("portraits", "a", {"MSE": values(0.1)})
    results.put("portraits", "b", {"MSE": values(0.2)})
    assert better("portraits", "MSE", ("a", "b"), -1)(results).is_held is True
    assert better("portraits", "MSE", ("b", "a"), -1)(results).is_held is False


def test_noise_is_not_held() -> None:
    results = Results()
    rng = np.random.default_rng(1)
    for arm in "ab":
        results.put("portraits", arm, {"MSE": rng.normal(0, 1, 30)})
    assert better("portraits", "MSE", ("a", "b"), -1)(results).is_held is False


def test_rejected_pictures_take_no_part() -> None:
    a, b = values(0.1), values(0.2)
    a[:5] = np.nan
    found = difference(a, b)
    assert found.n == 35
    assert found.b == pytest.approx(b[5:].mean())


def test_what_was_not_measured_is_not_tested_and_says_what_lacks() -> None:
    verdicts = judge(CLAIMS, Results())
    assert len(verdicts) == len(CLAIMS)
    assert all(v.is_held is None and v.word == "not tested" for v in verdicts.values())
    assert "hybrid: no MSE of portraits" in next(iter(verdicts.values())).deciding
    with pytest.raises(NotMeasuredError):
        difference(np.array([1.0, np.nan]), np.array([np.nan, 1.0]))


def test_a_claim_has_its_note_only_where_it_is_not_held() -> None:
    results = Results()
    results.put("portraits", "a", {"MSE": values(0.1)})
    results.put("portraits", "b", {"MSE": values(0.2)})
    claims = {
        "held": better("portraits", "MSE", ("a", "b"), -1),
        "not held": better("portraits", "MSE", ("b", "a"), -1),
        "without a note": better("portraits", "MSE", ("b", "a"), -1),
        "not tested": better("portraits", "MSE", ("a", "c"), -1),
    }
    notes = {"held": "x", "not held": "as it is", "not tested": "y"}
    found = judge(claims, results, notes)
    assert {word: verdict.note for word, verdict in found.items() if verdict.note} == {
        "not held": "as it is"
    }


def test_every_note_is_on_a_claim_that_there_is() -> None:
    assert set(command.NOTES) <= set(command.CLAIMS)


@pytest.mark.parametrize(
    ("mse", "gain", "is_held"), [(0.11, 0.1, True), (0.2, 0.1, False), (0.11, 0.0, False)]
)
def test_the_regulariser_must_gain_and_cost_little(mse: float, gain: float, is_held: bool) -> None:
    results = Results()
    for arm, error, more in (("in_domain", mse, gain), (LAMBDA_0, 0.1, 0.0)):
        results.put("portraits", arm, {"MSE": values(error), AGREEMENT: values(0.8)})
        edits = {T: values(0.3 + more), COSINE: values(0.5), REALISM: values(1.0)}
        results.put("edit/boundary", arm, edits)
    assert regularised(results).is_held is is_held


@pytest.mark.parametrize(
    ("t", "ecs", "mse", "is_held"),
    [
        (0.4, 0.8, 0.050, True),  # better edits
        (0.3, 0.6, 0.050, True),  # more consistent ones
        (0.4, 0.8, 0.060, False),  # at a price in reconstruction
        (0.3, 0.8, 0.050, False),  # no gain
        (0.4, 1.0, 0.050, False),  # one gained, one lost
    ],
)
def test_magec_must_gain_at_equal_reconstruction(
    t: float, ecs: float, mse: float, is_held: bool
) -> None:
    assert edits_better("boundary")(magec(t, ecs, mse)).is_held is is_held
    assert judge({"x": edits_better("ganspace")}, magec(t, ecs, mse))["x"].is_held is None


def test_a_row_needs_the_shortest_budget_that_reaches_its_loss() -> None:
    goal = np.array([0.5, 0.5, 0.5])
    climbed = [
        (np.array([0.4, 0.9, 0.9]), 1.0),
        (np.array([0.3, 0.5, 0.8]), 2.0),
        (np.array([0.2, 0.4, 0.7]), 4.0),
    ]
    found = seconds_to(goal, climbed)
    assert found[SECONDS].tolist() == [1.0, 2.0, 4.0]
    assert found[REACHED].tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("error", "t", "is_held"),
    [(0.2, 0.5, True), (0.05, 0.3, False)],  # the second: moves little, and is the nearest for it
)
def test_edits_are_not_judged_by_how_little_they_move(
    error: float, t: float, is_held: bool
) -> None:
    results = Results()
    for arm, one, other in (("a", error, t), ("b", 0.1, 0.3)):
        same = {COSINE: values(0.2), REALISM: values(1.0)}
        results.put("edit/boundary", arm, {ERROR: values(one), T: values(other), **same})
    verdict = best_edits(("a", "b"))(results)
    assert verdict.is_held is is_held
    assert any(told.startswith(ERROR) for told in verdict.details)


def climbed(own: list[float], other: list[float]) -> Results:
    """Seconds to either goal; infinite ones are of losses that were not reached."""
    results = Results()
    for goal in GOALS:
        for arm, told in (("in_domain", own), ("image2stylegan", other)):
            seconds = np.array(told)
            columns = {SECONDS: np.nan_to_num(seconds, posinf=9.0), REACHED: np.isfinite(seconds)}
            results.put(f"{CLIMB}, {goal}", arm, columns)
    return results


def test_who_is_first_to_a_loss_is_counted_over_pictures() -> None:
    verdict = faster(climbed([2.0] * 8, [4.0] * 7 + [np.inf]))
    assert verdict.is_held is True
    assert "first on 8 pictures, second on 0" in verdict.deciding
    assert "median 2.00 times" in verdict.details[0]
    assert "`image2stylegan` on 88%" in verdict.details[0]


def test_a_loss_that_is_not_reached_is_not_reached_sooner() -> None:
    assert faster(climbed([np.inf] * 8, [9.5] * 8)).is_held is False
    assert faster(climbed([np.inf] * 8, [np.inf] * 8)).is_held is False


def test_speed_is_held_for_both_goals_or_not_at_all() -> None:
    results = climbed([2.0] * 8, [4.0] * 8)
    last = f"{CLIMB}, {list(GOALS)[-1]}"
    results.put(last, "in_domain", {SECONDS: np.full(8, 5.0)})
    verdict = faster(results)
    assert verdict.is_held is False
    assert list(GOALS)[-1] in verdict.deciding
