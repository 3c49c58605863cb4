"""The error of weights in half precision."""

import torch
from torch import nn

from invertory.generators.toy import ToyGenerator
from invertory.training.rounding import outputs_for_images, outputs_for_z, rounded, rounding_error


def linear(weight: float) -> nn.Module:
    layer = nn.Linear(1, 1, bias=False)
    nn.init.constant_(layer.weight, weight)
    return layer


def test_a_weight_that_half_precision_holds_costs_nothing() -> None:
    assert rounding_error(linear(0.5), outputs_for_images(torch.ones(4, 1))) == 0


def test_the_error_is_relative_to_the_output() -> None:
    """1 + 2^-11 lies halfway between two halves and is rounded to 1."""
    weight = 1 + 2**-11
    error = rounding_error(linear(weight), outputs_for_images(torch.tensor([[1.0], [-100.0]])))
    assert abs(error - 2**-11 / weight) < 1e-7


def test_a_weight_beyond_half_precision_is_an_infinite_error() -> None:
    assert rounding_error(linear(1e5), outputs_for_images(torch.ones(1, 1))) == float("inf")


def test_integers_stay_as_they_are() -> None:
    tensors = rounded(nn.BatchNorm1d(2))
    assert tensors["num_batches_tracked"].dtype == torch.int64
    assert tensors["running_mean"].dtype == torch.float16


def test_a_generator_is_judged_by_its_images() -> None:
    z = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))
    generator = ToyGenerator(resolution=16, frequencies=2)
    error = rounding_error(generator, outputs_for_z(z[:, : generator.z_dim]))
    assert 0 < error < 1e-2
