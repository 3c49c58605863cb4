"""The Fréchet distance at known values, and against the reference implementations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from invertory.metrics.frechet import Moments, frechet_distance


def gaussian(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def moments(mean: list[float], covariance: list[list[float]]) -> Moments:
    scatter = torch.tensor(covariance, dtype=torch.float64)
    return Moments(2, torch.tensor(mean, dtype=torch.float64), scatter)


@pytest.mark.parametrize(
    ("name", "tolerance"), [("full_rank", 1e-8), ("rank_deficient", 1e-5), ("identical", 0)]
)
def test_it_is_the_references(shared: Callable[[str], Path], name: str, tolerance: float) -> None:
    golden = np.load(shared("data/golden/metrics/fid.npz"))
    a, b = (torch.from_numpy(golden[f"{name}/{part}"]) for part in "ab")
    found = frechet_distance(Moments.of(a.split(7)), Moments.of([b]))
    assert found == pytest.approx(float(golden[f"{name}/fid"]), rel=tolerance, abs=1e-9)


def test_the_moments_are_the_references(shared: Callable[[str], Path]) -> None:
    golden = np.load(shared("data/golden/metrics/fid.npz"))
    found = Moments.of(torch.from_numpy(golden["full_rank/a"]).split(64))
    np.testing.assert_allclose(found.mean, golden["full_rank/mu_a"], atol=1e-12)
    np.testing.assert_allclose(found.covariance, golden["full_rank/sigma_a"], atol=1e-12)


def test_equal_covariances_leave_the_distance_of_the_means() -> None:
    a, b = moments([0, 0], [[2, 1], [1, 3]]), moments([3, 4], [[2, 1], [1, 3]])
    assert frechet_distance(a, b) == pytest.approx(25)


def test_commuting_covariances_have_a_closed_form() -> None:
    # diagonal: the sum of (s_a - s_b)^2 over the deviations
    a, b = moments([0, 0], [[4, 0], [0, 9]]), moments([0, 0], [[1, 0], [0, 0]])
    assert frechet_distance(a, b) == pytest.approx((2 - 1) ** 2 + (3 - 0) ** 2)


def test_it_is_symmetric_and_never_negative() -> None:
    a, b = Moments.of([gaussian(20, 40)]), Moments.of([gaussian(30, 40, 1)])
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-12)
    assert 0 <= frechet_distance(a, a) < 1e-10


def test_moments_do_not_depend_on_how_rows_are_batched() -> None:
    x = gaussian(50, 6)
    whole, parts = Moments.of([x]), Moments.of([x[:1], x[1:1], x[1:30], x[30:]])
    torch.testing.assert_close(whole.mean, parts.mean)
    torch.testing.assert_close(whole.covariance, parts.covariance)
    np.testing.assert_allclose(whole.covariance, np.cov(x.numpy().T))


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    x = gaussian(1000, 4)
    near, far = Moments.of(x.split(100)), Moments.of((x + 1e8).split(100))
    torch.testing.assert_close(near.covariance, far.covariance, rtol=1e-6, atol=1e-6)


def test_one_row_has_no_covariance() -> None:
    one = Moments.of([torch.zeros(1, 3)])
    with pytest.raises(ValueError, match="two or more rows"):
        frechet_distance(one, one)


def test_features_of_two_embeddings_are_refused() -> None:
    a, b = Moments.of([gaussian(5, 3)]), Moments.of([gaussian(5, 4)])
    with pytest.raises(ValueError, match="one embedding, got 3 and 4"):
        frechet_distance(a, b)
    with pytest.raises(ValueError, match=r"expected features \[N, 3\], got \[5, 4\]"):
        a.update(gaussian(5, 4))
