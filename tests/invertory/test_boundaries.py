"""Planes with known normals, and results of the official InterFaceGAN code."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from invertory.boundaries import (
    Boundary,
    calibrate_offset,
    condition_boundary,
    condition_normal,
    fit_boundary,
    project,
    unit,
)

GOLDEN = Path(__file__).resolve().parents[2] / "../shared/data/golden/interfacegan"
RUNS = ["separable", "no_validation", "absolute_number", "noisy_invalid", "default_settings"]


def official_run(name: str) -> dict[str, Any]:
    """Settings of a run of the official code, and what it logged."""
    return json.loads((GOLDEN / "interfacegan.json").read_text())[name]


def settings_of(run: dict[str, Any], num_rows: int) -> dict[str, float]:
    """Arguments of `fit_boundary` for a run on that many rows; a whole number counts rows."""
    given = dict(run["kwargs"])
    settings = {"split": given["split_ratio"]} if "split_ratio" in given else {}
    if (chosen := given.get("chosen_num_or_ratio")) is not None:
        settings["ratio"] = chosen / num_rows if isinstance(chosen, int) else chosen
    return settings


def logged(run: dict[str, Any], line: str) -> list[int]:
    """The two counts of the log's line that starts with `line`."""
    (found,) = (text for text in run["log"] if text.strip().startswith(line))
    return [int(number) for number in re.findall(r"\d+", found)[:2]]


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    if not GOLDEN.exists():
        pytest.skip("../shared/data/golden/interfacegan is absent: no official numbers to meet")
    with np.load(GOLDEN / "interfacegan.npz", allow_pickle=False) as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def draws(num: int = 400, w_dim: int = 8, rows: int = 1, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, rows, w_dim, generator=generator, dtype=torch.float64)


def known_normal(w_dim: int = 8) -> torch.Tensor:
    return unit(torch.arange(1.0, w_dim + 1)[None])


@pytest.mark.parametrize("name", RUNS)
def test_official_boundary(golden: dict[str, torch.Tensor], name: str) -> None:
    run, scores = official_run(name), golden[f"{name}/scores"].flatten()
    valid = scores != run["kwargs"].get("invalid_value", math.nan)
    fitted = fit_boundary(
        golden[f"{name}/latents"][valid],
        scores[valid],
        permutations=(golden[f"{name}/positive_perm"], golden[f"{name}/negative_perm"]),
        **settings_of(run, int(valid.sum())),
    )
    torch.testing.assert_close(
        fitted.normal, golden[f"{name}/boundary"].double(), atol=1e-4, rtol=0
    )
    training, validation = (logged(run, part) for part in ("Training:", "Validation:"))
    num_chosen = np.add(training, validation).tolist()
    assert [fitted.num_positive, fitted.num_negative] == num_chosen
    right, num = logged(run, "Accuracy for remaining set:")
    assert fitted.accuracy_remaining == pytest.approx(right / num)
    if any(validation):
        right, num = logged(run, "Accuracy for validation set:")
        assert fitted.accuracy_validation == pytest.approx(right / num)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_official_conditional_normals(golden: dict[str, torch.Tensor], count: int) -> None:
    name = ["none", "one", "two", "three"][count]
    conditions = [golden[f"project/cond{k + 1}"] for k in range(count)]
    stacked = torch.stack(conditions) if conditions else torch.empty(0)
    found = condition_normal(golden["project/primal"], stacked)
    torch.testing.assert_close(found, golden[f"project/{name}"].double(), atol=1e-6, rtol=0)
    for condition in conditions:
        assert abs(float((found * condition).sum())) < 1e-6


@pytest.mark.parametrize("solver", ["svc", "linear", "logistic"])
def test_known_plane_is_found_with_its_offset(solver: str) -> None:
    w = draws(1500)
    scores = project(w, known_normal()) - 0.5  # the plane lies 0.5 from the origin
    fitted = fit_boundary(w, scores, selection="threshold", threshold=0.0, solver=solver)
    assert float((fitted.normal * known_normal()).sum()) > 0.995
    assert fitted.offset == pytest.approx(-0.5, abs=0.08)
    assert fitted.accuracy_validation is not None and fitted.accuracy_validation > 0.95
    assert fitted.accuracy_remaining is None
    assert fitted.spread == pytest.approx(1.0, abs=0.1)


def test_labels_serve_as_scores() -> None:
    w = draws()
    labels = (project(w, known_normal()) > 0.8).double()  # unbalanced
    fitted = fit_boundary(w, labels, ratio=0.5)
    assert fitted.threshold == 0.5
    assert fitted.num_positive == fitted.num_negative == int(labels.sum())
    assert float((fitted.normal * known_normal()).sum()) > 0.9


def test_normal_points_towards_higher_scores() -> None:
    w = draws()
    scores = project(w, known_normal())
    up, down = (fit_boundary(w, sign * scores, ratio=0.3) for sign in (1, -1))
    torch.testing.assert_close(up.normal, -down.normal, atol=0.1, rtol=0)
    assert torch.corrcoef(torch.stack([up.distance(w), scores]))[0, 1] > 0.9


def test_same_seed_same_boundary_and_other_seed_other_split() -> None:
    w = draws()
    scores = project(w, known_normal()) + draws(seed=3)[:, 0, 0]
    first, again, other = (fit_boundary(w, scores, ratio=0.3, seed=s) for s in (1, 1, 2))
    assert torch.equal(first.normal, again.normal) and first.offset == again.offset
    assert not torch.equal(first.normal, other.normal)


@pytest.mark.parametrize("rows", ["joint", "each"])
def test_rows_of_w_plus(rows: str) -> None:
    w = draws(1200, rows=3)
    scores = project(w, known_normal())
    fitted = fit_boundary(w, scores, ratio=0.4, rows=rows, threshold=0.0)
    assert fitted.normal.shape == (3, 8)
    assert float(fitted.normal.square().sum(-1).mean()) == pytest.approx(1.0)
    assert fitted.accuracy_validation is not None and fitted.accuracy_validation > 0.9
    moved = w + 2.0 * fitted.normal
    torch.testing.assert_close(fitted.distance(moved), fitted.distance(w) + 2.0)


def test_one_row_is_that_row_in_every_row() -> None:
    w, normal = draws(rows=4), known_normal()
    torch.testing.assert_close(project(w, normal), project(w, normal.expand(4, -1)))
    torch.testing.assert_close(project(w, normal), project(w.mean(1, keepdim=True), normal))


def test_joint_plane_is_the_solvers_own_plane() -> None:
    w = draws(200, w_dim=4, rows=2)
    scores = project(w, known_normal(4))
    fitted = fit_boundary(w, scores, ratio=0.5, split=1.0, solver="logistic")
    assert fitted.accuracy_validation is None
    labels = (scores >= scores.median()).numpy()
    plain = LogisticRegression(max_iter=10_000).fit(w.flatten(1).numpy(), labels)
    agree = (plain.decision_function(w.flatten(1).numpy()) > 0) == (fitted.distance(w) > 0).numpy()
    assert agree.mean() > 0.98


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (torch.rand(20), "at least 5 rows"),  # 0.02 of 20 rows
        (torch.zeros(400), "at least 5 rows"),
        (torch.full((400,), float("nan")), "finite"),
        (torch.rand(7), "one score for each latent"),
    ],
)
def test_what_cannot_be_fitted_says_why(scores: torch.Tensor, words: str) -> None:
    w = draws(400 if len(scores) == 7 else len(scores))
    with pytest.raises(ValueError, match=words):
        fit_boundary(w, scores)


def test_ties_between_the_sides_are_refused() -> None:
    scores = torch.ones(400)
    scores[:3], scores[3:6] = 2.0, 0.0  # 40 rows at either end would all but three score 1
    with pytest.raises(ValueError, match="ties at 1"):
        fit_boundary(draws(), scores, ratio=0.1)


def test_collinear_conditions_do_no_harm() -> None:
    primal, condition = known_normal(), torch.eye(8)[:1].double()
    one = condition_normal(primal, condition[None])
    two = condition_normal(primal, torch.stack([condition, 2 * condition]))
    torch.testing.assert_close(one, two)


def test_direction_within_its_conditions_is_refused() -> None:
    with pytest.raises(ValueError, match="drop a condition"):
        condition_normal(known_normal(), known_normal()[None])


def test_conditional_boundary_has_its_own_plane() -> None:
    w = draws(2000)
    other = known_normal().flip(-1)
    scores = project(w, known_normal()) + 0.7
    plain = fit_boundary(w, scores, selection="threshold", threshold=0.0, solver="linear")
    condition = fit_boundary(w, project(w, other), ratio=0.3, solver="linear")
    found = condition_boundary(plain, [condition], w, scores)
    assert abs(float((found.normal * condition.normal).sum())) < 1e-9
    assert found.offset > 0.3
    moved = w + found.normal
    torch.testing.assert_close(condition.distance(moved), condition.distance(w))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_calibrated_direction_gets_plane_and_sign(sign: float) -> None:
    w = draws(2000)
    scores = 10 * (project(w, known_normal()) - 0.4) + draws(2000, seed=9)[:, 0, 0]
    found = calibrate_offset(sign * 3 * known_normal(), w, scores, threshold=0.0)
    torch.testing.assert_close(found.normal, known_normal())
    assert found.offset == pytest.approx(-0.4, abs=0.05)
    assert found.accuracy_validation is not None and found.accuracy_validation > 0.93


def test_calibration_needs_both_labels() -> None:
    with pytest.raises(ValueError, match="at least 5 rows on either side, got 400"):
        calibrate_offset(known_normal(), draws(), torch.rand(400), threshold=-1.0)


def test_zero_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="non-zero norm"):
        unit(torch.zeros(1, 8))


def test_latents_of_another_generator_are_refused() -> None:
    fitted = fit_boundary(draws(), project(draws(), known_normal()), ratio=0.3)
    assert isinstance(fitted, Boundary)
    with pytest.raises(ValueError, match=r"expected latents \[N, rows, 8\]"):
        fitted.distance(draws(w_dim=9))
    with pytest.raises(ValueError, match="1 or 5 rows"):
        project(draws(rows=5), torch.ones(3, 8))
