"""The maximum mean discrepancy against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from invertory.training.invgan.mmd import mmd


def draws(n: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + shift


def test_two_pairs_of_points_by_hand() -> None:
    # all at 0 and all at 1: of the 12 ordered pairs 8 have the square 1, so the median is 1
    x, y = torch.zeros(2, 1), torch.ones(2, 1)
    expected = 2 - 2 * math.exp(-1 / 2)
    assert mmd(x, y, (1.0,)).item() == pytest.approx(expected)


def test_sets_of_one_distribution_are_near_and_shifted_ones_apart() -> None:
    same = [mmd(draws(64, seed), draws(64, seed + 1)) for seed in range(0, 40, 2)]
    apart = [mmd(draws(64, seed), draws(64, seed + 1, 1.0)) for seed in range(0, 40, 2)]
    assert abs(torch.stack(same).mean()) < 2e-3  # unbiased: 0 on average, not above it
    assert min(same) < 0
    assert min(apart) > 10 * max(same)


def test_it_grows_with_the_shift_and_its_gradient_undoes_it() -> None:
    values = [mmd(draws(64, 0), draws(64, 1, shift)).item() for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)
    y = draws(64, 1, 1.0).requires_grad_()
    (slope,) = torch.autograd.grad(mmd(draws(64, 0), y), y)
    assert (slope.mean(0) > 0).all()


def test_it_does_not_depend_on_the_latents_unit_nor_on_their_order() -> None:
    x, y = draws(16, 0), draws(12, 1, 0.5)
    value = mmd(x, y)
    torch.testing.assert_close(mmd(10 * x, 10 * y), value)
    torch.testing.assert_close(mmd(x.flip(0), y.flip(0)), value)


def test_latents_far_from_the_origin_lose_no_digits_nor_under_autocast() -> None:
    x, y = draws(16, 0), draws(12, 1, 0.5)
    value = mmd(x, y)
    torch.testing.assert_close(mmd(x + 100, y + 100), value, rtol=1e-3, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mmd(x, y), value)


def test_sets_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="expected two sets of 2 or more latents"):
        mmd(torch.zeros(1, 4), torch.zeros(4, 4))
    with pytest.raises(ValueError, match="of one length"):
        mmd(torch.zeros(4, 3), torch.zeros(4, 4))
