"""The StyleGAN2 projector: its parts at known values."""

from __future__ import annotations

import torch

from invertory.generators.toy import ToyGenerator
from invertory.inversion.projector import (
    Projector,
    autocorrelation,
    draw_normal,
    standardise,
)
from invertory.inversion.w_space import w_statistics
from invertory.perceptual import PixelPyramid


def test_it_returns_the_very_latent_of_a_linear_generator() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    w = G.w_avg + 0.5 * torch.randn(2, 1, G.w_dim, generator=torch.Generator().manual_seed(1))
    image = G.synthesis(w.expand(-1, G.num_ws, -1))
    method = Projector(steps=300, w_samples=100)
    found = method.invert(G, image, seeds=[0, 1], perceptual=PixelPyramid(), batch_size=2)
    torch.testing.assert_close(found.latents, w, rtol=0, atol=5e-3)


def test_the_first_step_has_rate_zero() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    objective = Projector(steps=40, w_samples=50).objective(
        G, torch.zeros(1, 3, 16, 16), PixelPyramid()
    )
    rate = objective.learning_rate(torch.tensor([0, 1, 2, 40]))
    torch.testing.assert_close(rate, torch.tensor([0, 0.05, 0.1, 0], dtype=torch.float64))


def test_draws_belong_to_the_seed() -> None:
    shapes = {"a": (1, 2, 2), "w_noise": (3, 1, 4)}
    first, again, other = (draw_normal(seed, shapes) for seed in (7, 7, 8))
    assert all(torch.equal(first[name], again[name]) for name in shapes)
    assert not torch.equal(first["a"], other["a"])


def test_another_seed_explores_otherwise() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    images = torch.zeros(2, 3, 16, 16)
    found = Projector(steps=10, w_samples=50).invert(
        G, images, seeds=[1, 2], perceptual=PixelPyramid(), batch_size=2
    )
    assert not torch.equal(found.latents[0], found.latents[1])


def test_the_mean_of_w_is_that_of_the_mapped_draws() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    w_avg, w_std = w_statistics(G, 4000)
    torch.testing.assert_close(w_avg, G.w_avg, rtol=0, atol=0.1)
    # the toy's w is a rotated z with w_dim unit variances, so the distance is sqrt(w_dim)
    torch.testing.assert_close(w_std, torch.tensor(G.w_dim**0.5), rtol=0.02, atol=0)


def test_constant_noise_is_wholly_correlated_at_every_scale() -> None:
    # 32, 16 and 8 px, two directions each, with squared mean product 1 (row 0) and 16 (row 1)
    noise = torch.stack([torch.ones(1, 32, 32), 2 * torch.ones(1, 32, 32)])
    assert autocorrelation(noise).tolist() == [6, 96]


def test_a_chequerboard_is_seen_at_its_own_scale_only() -> None:
    board = 1.0 - 2 * ((torch.arange(16)[:, None] + torch.arange(16)) % 2)
    assert autocorrelation(board[None, None]).item() == 2


def test_noise_maps_are_standardised_row_by_row() -> None:
    noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    noise[1] = noise[1] * 5 + 3
    found = standardise(noise)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.square().mean((1, 2, 3)), torch.ones(2))
