"""Adversarial losses and adaptive augmentation at known values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invertory.training.adversarial import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from invertory.training.stylegan2.adaptive_augmentation import adapt, augment
from invertory.training.stylegan2.autoencoding import feature_distance, reconstruction_loss


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_undecided_discriminator_costs_log_two() -> None:
    zero = torch.zeros(4)
    assert float(generator_loss(zero)) == pytest.approx(math.log(2))
    assert float(discriminator_loss(zero, zero)) == pytest.approx(2 * math.log(2))
    assert float(discriminator_loss(zero + 20, zero - 20)) < 1e-6


def test_r1_of_a_linear_discriminator_is_the_square_of_its_slope() -> None:
    slope = torch.randn(3, 4, 4, generator=rng(), requires_grad=True)
    penalty = r1_penalty(lambda x: (x * slope).sum((1, 2, 3)), torch.zeros(5, 3, 4, 4))
    torch.testing.assert_close(penalty, slope.square().sum())
    (gradient,) = torch.autograd.grad(penalty, slope)
    torch.testing.assert_close(gradient, 2 * slope)


def test_path_lengths_of_a_scaling_are_its_factor_times_the_noise() -> None:
    w_plus = torch.zeros(6, 2, 3 * 64, requires_grad=True)
    once = path_lengths(w_plus.sum(1).view(6, 3, 8, 8), w_plus, rng())
    thrice = path_lengths(3 * w_plus.sum(1).view(6, 3, 8, 8), w_plus, rng())
    torch.testing.assert_close(thrice, 3 * once)
    assert float(once.mean()) == pytest.approx(math.sqrt(3), rel=0.1)  # |y| over 8 px


def test_path_penalty_follows_a_running_mean() -> None:
    mean = torch.zeros(())
    penalty = path_length_penalty(torch.tensor([2.0, 4.0]), mean, decay=0.5)
    assert float(mean) == 1.5
    assert float(penalty) == pytest.approx(((2 - 1.5) ** 2 + (4 - 1.5) ** 2) / 2)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(64, 3, 16, 16, generator=rng(1)) * 2 - 1


def test_no_strength_leaves_images_alone(images: Tensor) -> None:
    got = augment(images, torch.zeros(()), rng())
    torch.testing.assert_close(got, images, rtol=0, atol=1e-5)


def test_strength_is_the_share_that_is_changed(images: Tensor) -> None:
    few, all_ = (
        (augment(images, torch.tensor(p), rng()) - images).abs().amax((1, 2, 3)) > 1e-3
        for p in (0.05, 1.0)
    )
    assert all_.all()
    assert 0.1 < few.float().mean() < 0.6  # seven transforms, each at 0.05


def test_augmentation_passes_gradients(images: Tensor) -> None:
    x = images.clone().requires_grad_()
    augment(x, torch.tensor(0.8), rng()).square().sum().backward()
    assert x.grad is not None
    assert (x.grad.abs().amax((1, 2, 3)) > 0).all()


def test_strength_follows_the_sign() -> None:
    strength = torch.tensor(0.5)
    adapt(strength, torch.tensor(0.9), target=0.6, batch_size=10, ramp_images=100)
    assert float(strength) == pytest.approx(0.6)
    for _ in range(20):
        adapt(strength, torch.tensor(0.1), target=0.6, batch_size=10, ramp_images=100)
    assert float(strength) == 0


def test_reconstruction_of_itself_is_free(images: Tensor) -> None:
    assert float(reconstruction_loss(images, images)) == 0
    # a constant error has no slopes: pixels and means count it once each
    assert float(reconstruction_loss(images + 0.1, images)) == pytest.approx(0.2, abs=1e-5)


def test_feature_distance_is_relative(images: Tensor) -> None:
    assert float(feature_distance([images], [images])) == 0
    assert float(feature_distance([2 * images], [images])) == pytest.approx(1, abs=1e-4)
    assert float(feature_distance([20 * images], [10 * images])) == pytest.approx(1, abs=1e-4)
