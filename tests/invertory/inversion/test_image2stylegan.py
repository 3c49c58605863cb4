"""Image2StyleGAN on a generator whose answer is known."""

from __future__ import annotations

import pytest
import torch

from invertory.generators.toy import ToyGenerator
from invertory.inversion.engine.view import View
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.inversion.optimisation import ramp
from invertory.perceptual import PixelPyramid


def test_it_returns_the_very_latent_of_a_linear_generator() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    w_plus = G.w_avg + 0.5 * torch.randn(
        3, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(1)
    )
    method = Image2StyleGAN(steps=300, learning_rate=0.1, schedule="ramp", rampdown=0.8)
    found = method.invert(
        G, G.synthesis(w_plus), seeds=[0, 1, 2], perceptual=PixelPyramid(), batch_size=2
    )
    torch.testing.assert_close(found.latents, w_plus, rtol=0, atol=1e-3)
    assert (found.loss < 1e-5).all()


def test_it_starts_at_the_mean_latent() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    found = Image2StyleGAN(steps=0).invert(
        G, torch.zeros(1, 3, 16, 16), seeds=[0], perceptual=PixelPyramid(), batch_size=1
    )
    assert torch.equal(found.latents[0], G.w_avg.expand(G.num_ws, -1))


def test_steps_in_w_find_the_one_w_that_made_every_row() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    w = torch.randn(2, 1, G.w_dim, generator=torch.Generator().manual_seed(2))
    w_plus = (G.w_avg + 0.5 * w).expand(-1, G.num_ws, -1)
    method = Image2StyleGAN(w_steps=300, steps=0, learning_rate=0.1, schedule="ramp", rampdown=0.8)
    found = method.invert(
        G, G.synthesis(w_plus), seeds=[0, 1], perceptual=PixelPyramid(), batch_size=2
    )
    assert torch.equal(found.latents, found.latents[:, :1].expand(-1, G.num_ws, -1))
    torch.testing.assert_close(found.latents, w_plus, rtol=0, atol=1e-3)


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    G = ToyGenerator(resolution=16, frequencies=3)
    found = Image2StyleGAN(steps=3, mse_weight=0.5, perceptual_weight=2.0).invert(
        G, torch.zeros(2, 3, 16, 16), seeds=[0, 1], perceptual=PixelPyramid(), batch_size=2
    )
    expected = 0.5 * found.terms["mse"] + 2.0 * found.terms["perceptual"]
    torch.testing.assert_close(found.loss, expected)


def test_the_defaults_are_the_papers() -> None:
    paper = Image2StyleGAN()
    assert (paper.steps, paper.learning_rate, paper.schedule) == (5000, 0.01, "constant")


@pytest.mark.parametrize(("made", "target", "most", "px"), [(16, 64, 256, 16), (16, 64, 8, 8)])
def test_the_loss_looks_at_the_finest_size_that_all_allow(
    made: int, target: int, most: int, px: int
) -> None:
    G = ToyGenerator(resolution=made, frequencies=3)
    images = torch.zeros(1, 3, target, target)
    view = View.of(G, PixelPyramid(), images, preview=False, max_px=most)
    assert view.size_px == px
    assert view.constants(images)["target"].shape[-1] == px
    assert view.render(G.w_avg.expand(1, G.num_ws, -1)).shape[-1] == px


def test_the_ramp_rises_from_zero_and_falls_to_zero() -> None:
    steps = torch.tensor([0, 1, 5, 50, 75, 90, 100])
    factor = ramp(steps, 100, up=0.05, down=0.25)
    expected = torch.tensor([0, 0.2, 1, 1, 1, 0.3454915, 0], dtype=torch.float64)
    torch.testing.assert_close(factor, expected)
