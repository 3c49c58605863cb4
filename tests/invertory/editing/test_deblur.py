"""Blur, and codes that move away from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from invertory.editing.deblur import deblur, enlarge, extrapolate, gaussian_blur
from invertory.editing.tiling import TiledPair
from invertory.generators.toy import ToyGenerator

GENERATOR = ToyGenerator(resolution=16, frequencies=3)


class Exact(nn.Module):
    """The toy's own inverse, as an encoder."""

    resolution, num_ws, w_dim = 16, GENERATOR.num_ws, GENERATOR.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return GENERATOR.invert_exactly(x)


def images(n: int, px: int) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_the_blur_is_that_of_scipy(sigma: float) -> None:
    whole = images(1, 32).double()
    found = gaussian_blur(whole, sigma)
    radius = int(np.ceil(3 * sigma))
    expected = gaussian_filter(whole[0, 0].numpy(), sigma, mode="mirror", radius=radius)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-12)


def test_a_blur_keeps_a_flat_image_and_none_keeps_all() -> None:
    flat = torch.full((1, 3, 8, 8), 0.25)
    torch.testing.assert_close(gaussian_blur(flat, 5.0), flat)
    whole = images(1, 8)
    assert gaussian_blur(whole, 0.0) is whole
    with pytest.raises(ValueError, match="expected a blur"):
        gaussian_blur(whole, -1.0)


def test_enlarged_images_stay_in_range() -> None:
    found = enlarge(images(2, 8).sign(), 32)
    assert found.shape == (2, 3, 32, 32)
    assert found.abs().max() <= 1


def test_codes_go_away_from_the_blur() -> None:
    codes, blurred = torch.tensor([2.0]), torch.tensor([1.5])
    assert extrapolate(codes, blurred, 0).item() == 2
    assert extrapolate(codes, blurred, 2).item() == 3
    assert extrapolate(codes, blurred, -1).item() == 1.5  # the blurred image itself


def test_an_amount_of_0_is_the_inversion_and_more_is_sharper() -> None:
    rng = torch.Generator().manual_seed(3)
    w_plus = torch.randn(2, GENERATOR.num_ws, GENERATOR.w_dim, generator=rng)
    soft = gaussian_blur(GENERATOR.synthesis(w_plus), 1.0)
    pair = TiledPair.of(Exact(), GENERATOR)
    found = deblur(soft, pair, (0.0, 1.0, 2.0), sigma_px=1.0)
    assert found.shape == (3, 2, 3, 16, 16)
    torch.testing.assert_close(found[0], pair.images(pair.codes(soft)))
    slopes = found.diff(dim=-1).square().mean((1, 2, 3, 4))
    assert slopes[0] < slopes[1] < slopes[2]


def test_small_images_are_brought_to_the_grid() -> None:
    pair = TiledPair.of(Exact(), GENERATOR, tiles=2)
    assert deblur(images(1, 12), pair, (1.0,), sigma_px=1.0).shape == (1, 1, 3, 32, 32)
