"""Precision, recall and realism at known values, and against the authors' code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invertory.metrics import precision_recall as module
from invertory.metrics.precision_recall import (
    is_within,
    precision_recall,
    realism,
    squared_radii,
)


@pytest.fixture
def golden(shared: Callable[[str], Path]) -> dict[str, Tensor]:
    with np.load(shared("data/golden/metrics/precision_recall.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.mark.parametrize("i", range(3))
@pytest.mark.parametrize("block", [64, 1024])
def test_memberships_are_the_references(
    golden: dict[str, Tensor], i: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    ref, made, k = golden["ref"], golden["eval"], int(golden["nhood_sizes"][i])
    radii2 = squared_radii(ref, k)
    np.testing.assert_allclose(radii2, golden["ref_radii_squared"][:, i], rtol=1e-4)
    assert torch.equal(is_within(made, ref, radii2), golden["eval_in_ref_manifold"][:, i].bool())
    found = precision_recall(ref, made, k=k)
    expected = (float(golden["precision"][i]), float(golden["recall"][i]))
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("name", "pruned"), [("no_prune", False), ("prune50", True)])
def test_realism_is_the_references(golden: dict[str, Tensor], name: str, pruned: bool) -> None:
    found = realism(golden["eval"], golden["ref"], pruned=pruned)
    np.testing.assert_allclose(found, golden[f"realism_k3_{name}"], rtol=1e-4)


def line(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_radii_of_a_line_are_known() -> None:
    assert squared_radii(line(0, 1, 3, 7), 1).tolist() == [1, 1, 4, 16]
    assert squared_radii(line(0, 1, 3, 7), 3).tolist() == [49, 36, 16, 49]


def test_equal_rows_have_radius_zero() -> None:
    assert squared_radii(torch.full((5, 3), 1e4), 2).tolist() == [0] * 5


def test_made_far_away_has_neither() -> None:
    real, made = line(0, 1, 2, 3, 4), line(100, 101, 102, 103, 104)
    assert precision_recall(real, made) == (0, 0)
    assert precision_recall(real, real) == (1, 1)


def test_one_mode_is_precise_and_recalls_half() -> None:
    real = line(*range(5), *range(100, 105))
    made = line(*[x + 0.5 for x in range(5)])
    assert precision_recall(real, made) == (1, 0.5)


def test_realism_is_one_on_a_border() -> None:
    reference = line(0, 1, 2, 3)  # k = 1: every sphere has radius 1
    scores = realism(line(4, 5, 3.5), reference, k=1)
    torch.testing.assert_close(scores.float(), torch.tensor([1, 0.25, 4]), rtol=1e-4, atol=0)


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match=r"k from 1 to 2 \(rows - 1\), got 3"):
        squared_radii(line(0, 1, 2), 3)
