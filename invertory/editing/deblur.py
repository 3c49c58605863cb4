"""Deblurring: move an image's codes away from those of its blurred copy.

InvGAN: Invertable GANs, Ghosh, Zietlow, Black, Davis and Hu 2021, https://arxiv.org/abs/2112.04598,
section 4.3, "image de-blurring": an image is enlarged bicubically, inverted tile by tile, blurred,
and inverted again; its codes are extrapolated along the difference. The user chooses how far with
`amount`; 0 is the inversion itself. The paper does not state the width of the blur.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import conv2d, interpolate, pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from invertory.editing.tiling import TiledPair

REACH = 3.0  # half width of the kernel, in standard deviations


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Convolve [N, C, H, W] with a Gaussian of deviation `sigma_px`, mirrored at the edges.

    Raises `ValueError` if `sigma_px` is negative.
    """
    if sigma_px < 0:
        raise ValueError(f"expected a blur of 0 px or more, got {sigma_px} px")
    radius = min(math.ceil(REACH * sigma_px), min(images.shape[-2:]) - 1)
    if radius == 0:
        return images
    places = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-places.square() / (2 * sigma_px**2))
    kernel = (kernel / kernel.sum()).to(images)
    channels = images.shape[1]
    across = kernel.expand(channels, 1, 1, -1)
    padded = pad(images, (radius,) * 4, mode="reflect")
    return conv2d(conv2d(padded, across, groups=channels), across.mT, groups=channels)


def enlarge(images: Tensor, size_px: int) -> Tensor:
    """Resize [N, 3, h, h] in [-1, 1] => [N, 3, size_px, size_px], bicubic, clamped to [-1, 1]."""
    if images.shape[-1] == size_px:
        return images
    size = (size_px, size_px)
    return interpolate(images, size=size, mode="bicubic", antialias=True).clamp(-1, 1)


def extrapolate(codes: Tensor, blurred: Tensor, amount: float) -> Tensor:
    """Extrapolate codes from those of the blurred image, both [N, n * n, rows, w_dim]."""
    return codes + amount * (codes - blurred)


@torch.no_grad()
def deblur(images: Tensor, pair: TiledPair, amounts: Sequence[float], *, sigma_px: float) -> Tensor:
    """Unsharp [N, 3, h, h] in [-1, 1] => [len(amounts), N, 3, S, S], about [-1, 1].

    S is the size of the pair's grid, to which images are enlarged. `sigma_px` is the deviation of
    the blur that gives the direction, in pixels of that size.
    """
    whole = enlarge(images, pair.grid.size_px)
    codes = pair.codes(whole)
    blurred = pair.codes(gaussian_blur(whole, sigma_px))
    return torch.stack([pair.images(extrapolate(codes, blurred, a)) for a in amounts])
