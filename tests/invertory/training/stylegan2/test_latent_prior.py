"""The Gaussian of latents, and the mapping network that samples it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.training.stylegan2.latent_prior import CENTRE, LatentPrior, encoder_for, with_prior


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def prior() -> LatentPrior:
    """A prior of correlated latents with a non-zero mean."""
    latents = normal(4096, 6) @ normal(6, 6, seed=1) + 3
    prior = LatentPrior(6)
    prior.mean.copy_(latents.mean(0))
    prior.covariance.copy_(latents.T.cov())
    prior.factorise()
    return prior


def make(mapping_layers: int = 1) -> StyleGAN2:
    return StyleGAN2(
        z_dim=6, w_dim=6, img_resolution=8, channel_base=32, num_layers=mapping_layers
    ).initialise(torch.Generator().manual_seed(2))


def coloured(w: Tensor, prior: LatentPrior) -> Tensor:
    """Convert a whitened w back to the prior's w."""
    return prior.mean + (w - CENTRE) @ prior.root.T


def whitened(w: Tensor, prior: LatentPrior) -> Tensor:
    return CENTRE + (w - prior.mean) @ torch.linalg.inv(prior.root).T


def test_running_moments_reach_those_of_the_latents() -> None:
    prior, latents = LatentPrior(3), normal(2000, 3) * torch.tensor([1.0, 2.0, 3.0]) + 5
    for batch in latents.split(20):
        prior.update(batch, 0.9)
    assert (prior.mean - 5).abs().max() < 1.5
    for _ in range(60):
        prior.update(latents, 0.8)
    torch.testing.assert_close(prior.mean, latents.mean(0))
    torch.testing.assert_close(prior.covariance, latents.T.cov(correction=0), rtol=1e-3, atol=1e-3)


def test_draws_have_the_moments(prior: LatentPrior) -> None:
    drawn = prior.draw(20_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), prior.mean, rtol=0, atol=0.1)
    error = (drawn.T.cov() - prior.covariance).norm() / prior.covariance.norm()
    assert error < 0.05


def test_the_mapping_draws_what_the_prior_draws(prior: LatentPrior) -> None:
    moved = with_prior(make(), prior)
    got = coloured(moved.mapping(normal(64, 6)), prior)
    expected = prior.draw(64, torch.Generator().manual_seed(0))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(moved.w_avg, torch.full((6,), CENTRE))


def test_the_kept_space_is_white(prior: LatentPrior) -> None:
    w = with_prior(make(), prior).mapping(normal(20_000, 6))
    torch.testing.assert_close(w.mean(0), torch.full((6,), CENTRE), rtol=0, atol=0.05)
    torch.testing.assert_close(w.T.cov(), torch.eye(6), rtol=0, atol=0.05)


def test_images_stay_when_the_space_is_moved(prior: LatentPrior) -> None:
    generator, w_plus = make(), normal(3, 4, 6, seed=5)
    expected = generator.synthesis(w_plus)
    got = with_prior(generator, prior).synthesis(whitened(w_plus, prior))
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3)
    assert torch.equal(generator.synthesis(w_plus), expected)  # the given one is not touched


def test_the_encoder_moves_along(prior: LatentPrior) -> None:
    encoder = ResidualEncoder(resolution=8, num_ws=1, w_dim=6, channels=(8, 8)).eval()
    x = normal(2, 3, 8, 8)
    got = encoder_for(encoder, prior)(x)
    torch.testing.assert_close(got, whitened(encoder(x), prior), rtol=1e-3, atol=1e-3)


def test_a_deep_mapping_is_refused(prior: LatentPrior) -> None:
    with pytest.raises(ValueError, match="expected a mapping of 1 layer, got 2"):
        with_prior(make(2), prior)
