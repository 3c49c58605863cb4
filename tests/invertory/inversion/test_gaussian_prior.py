"""The Gaussian prior on W+ keeps latents near the generator's own."""

from __future__ import annotations

from dataclasses import replace

import torch

from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator
from invertory.inversion.gaussian_prior import GaussianPrior, prior
from invertory.inversion.w_space import Whitening, gaussianise, mapped_draws
from invertory.perceptual import PixelPyramid

G = ToyGenerator(resolution=16, frequencies=3)


def test_the_leaky_relu_of_the_mapping_is_undone() -> None:
    p = torch.linspace(-2, 2, 9)
    torch.testing.assert_close(gaussianise(torch.nn.functional.leaky_relu(p, 0.2)), p)


def test_draws_are_white_after_whitening() -> None:
    v = Whitening.of(G, 4000)(mapped_draws(G, 4000).float())
    torch.testing.assert_close(v.mean(0), torch.zeros(G.w_dim), rtol=0, atol=1e-4)
    torch.testing.assert_close(v.T @ v / 3999, torch.eye(G.w_dim), rtol=0, atol=1e-3)


def test_a_draw_has_a_prior_of_one_and_the_mean_of_none() -> None:
    whitening = Whitening.of(G, 4000)
    w = mapped_draws(G, 4000).float()
    torch.testing.assert_close(
        prior(w[:, None], whitening).mean(), torch.tensor(1.0), atol=1e-3, rtol=0
    )
    middle = whitening.mean.where(whitening.mean > 0, whitening.mean / 5).expand(1, 4, -1)
    assert float(prior(middle, whitening)) < 1e-9


def test_the_prior_is_the_distance_of_mahalanobis() -> None:
    w = torch.randn(2, 4, G.w_dim, generator=torch.Generator().manual_seed(1))
    p = gaussianise(mapped_draws(G, 500))
    from_mean = gaussianise(w.double()) - p.mean(0)
    inverse = torch.linalg.inv(torch.cov(p.T))
    expected = torch.einsum("nri,ij,nrj->n", from_mean, inverse, from_mean) / (4 * G.w_dim)
    found = prior(w, Whitening.of(G, 500))
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)


def test_a_w_of_fewer_axes_than_numbers_has_a_finite_prior() -> None:
    flat = StyleGAN2(img_resolution=8, z_dim=4, w_dim=12, num_layers=1, channel_base=64)
    flat.mapping.get_submodule("fc0").weight.copy_(torch.ones(12, 4))
    whitening = Whitening.of(flat, 100)  # type: ignore[arg-type]
    assert torch.isfinite(prior(torch.randn(3, flat.num_ws, 12), whitening)).all()


def test_the_weightier_the_prior_the_likelier_the_latents() -> None:
    targets = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    light = GaussianPrior(steps=60, prior_weight=1e-4, w_samples=500)
    found = [
        method.invert(G, targets, seeds=[0, 1], perceptual=PixelPyramid(), batch_size=2).terms
        for method in (light, replace(light, prior_weight=1.0))
    ]
    assert (found[1]["prior"] < found[0]["prior"]).all()
    assert (found[1]["mse"] > found[0]["mse"]).all()
