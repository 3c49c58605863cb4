from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invertory.boundaries import Boundary, unit
from invertory.metrics.semantics import average_precision, boundary_average_precision


def codes(num: int = 120) -> tuple[Tensor, Tensor]:
    """Latents [N, 2, 5] whose first entry determines the label."""
    rng = torch.Generator().manual_seed(0)
    latents = torch.randn(num, 2, 5, generator=rng)
    labels = (torch.arange(num) % 3 == 0).float()
    latents[:, :, 0] = 6 * (labels[:, None] - 0.5)
    return latents, labels


def test_codes_that_separate_have_precision_one() -> None:
    assert average_precision(*codes()) == pytest.approx(1.0)


def test_codes_without_meaning_are_no_better_than_chance() -> None:
    latents, labels = codes(600)
    latents[:, :, 0] = 0
    assert average_precision(latents, labels) == pytest.approx(1 / 3, abs=0.08)


def test_noise_on_codes_costs_precision() -> None:
    latents, labels = codes()
    noise = 4 * torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    assert average_precision(latents + noise, labels) < 0.97


def test_too_few_of_a_class_is_not_judged() -> None:
    latents, _ = codes(30)
    labels = torch.zeros(30)
    labels[:4] = 1
    assert math.isnan(average_precision(latents, labels))


def test_a_known_order_has_its_known_area() -> None:
    boundary = Boundary(normal=unit(torch.ones(1, 1)))
    latents = torch.tensor([4.0, 3.0, 2.0, 1.0]).view(4, 1, 1)
    labels = torch.tensor([1.0, 0.0, 1.0, 0.0])
    # at recall 1/2 precision 1, at recall 1 precision 2/3
    assert boundary_average_precision(boundary, latents, labels) == pytest.approx(
        0.5 * 1 + 0.5 * 2 / 3
    )
    assert math.isnan(boundary_average_precision(boundary, latents, torch.ones(4)))
