"""StyleGAN2's noise maps as variables: one an optimised layer, [n, 1, H, W] for n rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

if TYPE_CHECKING:
    from invertory.generators import Generator

Shapes = dict[str, tuple[int, ...]]


def noise_buffers(generator: Generator) -> dict[str, Tensor]:
    """The generator's own maps [H, W] that can be replaced: StyleGAN2's buffers `noise_const`."""
    synthesis = generator.synthesis
    if not isinstance(synthesis, nn.Module):
        return {}
    return {k: v for k, v in synthesis.named_buffers() if k.endswith("noise_const")}


def noise_shapes(generator: Generator) -> Shapes:
    """Noise maps that can be replaced => (1, H, W): StyleGAN2's buffers `noise_const`."""
    return {k: (1, *v.shape) for k, v in noise_buffers(generator).items()}


def autocorrelation(noise: Tensor) -> Tensor:
    """noise [n, 1, H, H] => [n]; appendix D: squared mean product with the neighbour pixel, both
    ways, from the full resolution by halves down to 8 px.
    """
    total = torch.zeros(len(noise), dtype=noise.dtype, device=noise.device)
    while True:
        for axis in (2, 3):
            product = (noise * noise.roll(1, axis)).mean((1, 2, 3))
            total = total + product.square()
        if noise.shape[-1] <= 8:
            return total
        noise = avg_pool2d(noise, 2)


def standardised(noise: Tensor) -> Tensor:
    """Each row's map with mean 0 and mean square 1."""
    centred = noise - noise.mean((1, 2, 3), keepdim=True)
    return centred * centred.square().mean((1, 2, 3), keepdim=True).rsqrt()
