"""KID at known values, and against the reference implementations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invertory.metrics.kid import kid, polynomial_mmd2


@pytest.fixture
def golden(shared: Callable[[str], Path]) -> dict[str, Tensor]:
    with np.load(shared("data/golden/metrics/kid.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def gaussian(n: int, seed: int) -> Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def test_every_row_together_is_the_references(golden: dict[str, Tensor]) -> None:
    found = polynomial_mmd2(golden["a"], golden["b"])
    assert found == pytest.approx(float(golden["cleanfid/all_ab"]), rel=1e-5)
    assert found == pytest.approx(float(golden["torchfidelity/all_ab"][0]), rel=1e-5)


def test_the_references_subsets_give_the_references_mean(golden: dict[str, Tensor]) -> None:
    drawn = golden["cleanfid/subsets_ac_idx_feats2_then_feats1"]  # one subset of c, one of a, ...
    pairs = zip(drawn[::2], drawn[1::2], strict=True)
    found = [polynomial_mmd2(golden["a"][a], golden["c"][c]) for c, a in pairs]
    assert np.mean(found) == pytest.approx(float(golden["cleanfid/subsets_ac"]), rel=1e-5)


def test_two_rows_each_have_a_value_by_hand() -> None:
    # d = 1: k(1, 2) = 27, k(0, 0) = 1, cross terms k(1, 0) = k(2, 0) = 1
    a, b = torch.tensor([[1.0], [2.0]]), torch.zeros(2, 1)
    assert polynomial_mmd2(a, b) == pytest.approx(27 + 1 - 2)


def test_it_is_unbiased_where_the_distributions_are_equal() -> None:
    found = [polynomial_mmd2(gaussian(30, 2 * i), gaussian(30, 2 * i + 1)) for i in range(200)]
    assert min(found) < 0 < max(found)
    assert abs(np.mean(found)) < 3 * np.std(found) / 200**0.5


def test_one_subset_of_every_row_is_the_whole() -> None:
    a, b = gaussian(20, 0), gaussian(20, 1) + 1
    found = kid(a, b, num_subsets=3, subset_size=1000)
    assert found.mean == pytest.approx(polynomial_mmd2(a, b))
    assert found.std == pytest.approx(0, abs=1e-12)
    assert (found.num_subsets, found.subset_size) == (3, 20)


def test_the_seed_draws_the_subsets() -> None:
    a, b = gaussian(60, 0), gaussian(40, 1)
    options = {"num_subsets": 4, "subset_size": 10}
    assert kid(a, b, seed=1, **options) == kid(a, b, seed=1, **options)
    assert kid(a, b, seed=1, **options) != kid(a, b, seed=2, **options)


def test_a_single_row_is_refused() -> None:
    with pytest.raises(ValueError, match="two or more rows"):
        kid(gaussian(1, 0), gaussian(5, 0))
    with pytest.raises(ValueError, match=r"\[5, 8\] and \[5, 3\]"):
        polynomial_mmd2(gaussian(5, 0), torch.zeros(5, 3))
