"""Pixel errors of images in [-1, 1]."""

from __future__ import annotations

import torch
from torch import Tensor


def mse(a: Tensor, b: Tensor) -> Tensor:
    """a, b [N, C, H, W] in [-1, 1] => mean squared error per image [N], 0 to 4."""
    if a.shape != b.shape or a.dim() != 4:
        raise ValueError(
            f"expected two batches [N, C, H, W] of one shape, got {list(a.shape)} and "
            f"{list(b.shape)}: resize one to the other first"
        )
    return (a.double() - b.double()).square().mean((1, 2, 3)).float()


def psnr_db(a: Tensor, b: Tensor) -> Tensor:
    """a, b [N, C, H, W] in [-1, 1] => peak signal-to-noise ratio [N] in dB; inf for equal images.

    PSNR = 10 log10(2^2 / MSE); the peak is the range of the images, 2.
    """
    return 10 * torch.log10(2**2 / mse(a, b))
