"""Augmentations that mimic photographs are small, seeded, and global."""

from __future__ import annotations

import torch
from torch import Tensor

from invertory.training.pyramid.photographic import SHIFT, altered, grained


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ramp(n: int) -> Tensor:
    """Brighter to the right, [n, 3, 32, 32]."""
    return torch.linspace(-0.5, 0.5, 32).expand(n, 3, 32, 32)


def test_no_strength_leaves_images_alone() -> None:
    x = ramp(4)
    torch.testing.assert_close(altered(x, 0.0, rng()), x, rtol=0, atol=1e-5)
    assert torch.equal(grained(x, 0.0, rng()), x)


def test_changes_are_a_function_of_the_generator() -> None:
    x = ramp(4)
    for change, size in ((altered, 1.0), (grained, 0.1)):
        assert torch.equal(change(x, size, rng()), change(x, size, rng()))
        assert not torch.equal(change(x, size, rng()), change(x, size, rng(1)))


def test_images_are_altered_each_by_itself_and_stay_in_range() -> None:
    x = torch.rand(64, 3, 16, 16, generator=rng()) * 2 - 1
    made = altered(x, 3.0, rng())
    assert made.abs().max() <= 1
    assert (made - x).flatten(1).square().mean(1).std() > 0


def test_shifts_have_the_deviation_that_is_told() -> None:
    spot = torch.zeros(512, 3, 32, 32)
    spot[:, :, 14:18, 14:18] = 0.5
    made = altered(spot, 1.0, rng())
    weights = (made - made.amin((2, 3), keepdim=True)).mean(1)
    column = (weights.sum(1) * torch.arange(32)).sum(1) / weights.sum((1, 2))
    assert 0.7 * SHIFT < (column / 32).std() < 1.3 * SHIFT


def test_grain_is_at_most_what_is_asked_for() -> None:
    noise = grained(torch.zeros(256, 3, 16, 16), 0.2, rng())
    deviations = noise.flatten(1).std(1)
    assert deviations.max() < 0.23
    assert 0.08 < deviations.mean() < 0.12
