"""Sets of images compared in an embedding whose distances are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invertory.metrics.frechet import frechet_distance
from invertory.metrics.quality import compare_embedded, compare_sets, embed_set


def colours(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def images(n: int, seed: int, shift: float = 0.0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(n, 3, 1, 1, generator=rng).expand(-1, -1, 4, 4) + shift


def test_a_set_against_itself_is_perfect() -> None:
    found = compare_sets(images(40, 0).split(7), images(40, 0).split(16), colours)
    assert found.fid == pytest.approx(0, abs=1e-9)
    assert (found.precision, found.recall, found.n_real, found.n_made) == (1, 1, 40, 40)


def test_a_shift_of_every_colour_is_the_distance_of_the_means() -> None:
    found = compare_sets([images(50, 0)], [images(50, 0, shift=2.0)], colours)
    assert found.fid == pytest.approx(3 * 2.0**2, rel=1e-6)
    assert found.kid > 1
    assert (found.precision, found.recall) == (0, 0)


def test_batches_do_not_matter() -> None:
    real, made = images(30, 0), images(20, 1)
    a = compare_sets([real], [made], colours)
    b = compare_sets(real.split(4), made.split(9), colours)
    assert (a.fid, a.kid) == pytest.approx((b.fid, b.kid))
    assert (a.n_real, a.n_made) == (b.n_real, b.n_made) == (30, 20)


def test_an_embedded_set_may_be_compared_again() -> None:
    real = embed_set(images(30, 0).split(8), colours)
    assert real.features.shape == (30, 3)
    assert compare_embedded(real, real).fid == frechet_distance(real.moments, real.moments)


def test_an_embedding_that_breaks_says_where() -> None:
    bad = images(6, 0).clone()
    bad[4] = math.nan
    with pytest.raises(ValueError, match="among the images 4 to 5"):
        embed_set(bad.split(2), colours)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="two images or more in a set, got 0"):
        embed_set([], colours)
