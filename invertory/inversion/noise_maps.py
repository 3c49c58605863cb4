"""StyleGAN2's noise maps as variables: one per optimised layer, [n, 1, H, W] for n rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

if TYPE_CHECKING:
    from invertory.generators import Generator

Shapes = dict[str, tuple[int, ...]]


def noise_buffers(generator: Generator) -> dict[str, Tensor]:
    """The generator's replaceable maps [H, W]: StyleGAN2's buffers `noise_const`."""
    synthesis = generator.synthesis
    if not isinstance(synthesis, nn.Module):
        return {}
    return {k: v for k, v in synthesis.named_buffers() if k.endswith("noise_const")}


def noise_shapes(generator: Generator) -> Shapes:
    """Replaceable noise maps => (1, H, W): StyleGAN2's buffers `noise_const`."""
    return {k: (1, *v.shape) for k, v in noise_buffers(generator).items()}


def autocorrelation(noise: Tensor) -> Tensor:
    """noise [n, 1, H, H] => regularisation term [n] of appendix D.

    Analyzing and Improving the Image Quality of StyleGAN, Karras et al. 2020: the squared mean
    product with the neighbour pixel along both axes, summed over resolutions halved from full size
    to 8 px.
    """
    total = torch.zeros(len(noise), dtype=noise.dtype, device=noise.device)
    while True:
        for axis in (2, 3):
            # L_ij = (mean n(x, y) n(x - 1, y))^2 + (mean n(x, y) n(x, y - 1))^2
            product = (noise * noise.roll(1, axis)).mean((1, 2, 3))
            total = total + product.square()
        if noise.shape[-1] <= 8:
            return total
        noise = avg_pool2d(noise, 2)


def standardise(noise: Tensor) -> Tensor:
    """Normalise each row's map to mean 0 and mean square 1."""
    centred = noise - noise.mean((1, 2, 3), keepdim=True)
    return centred * centred.square().mean((1, 2, 3), keepdim=True).rsqrt()
