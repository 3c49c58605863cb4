"""Augmentations that mimic photographs, for encoders trained on synthesised images only; our own.

Crops of photographs never match the generator's placement of faces exactly, they have the camera's
light and colours, and grain. All changes are small: the encoder must reconstruct the altered image,
so the generator must be able to synthesise it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

SHIFT = 0.03  # standard deviation, share of the side
ZOOM = 0.05  # standard deviation of log2
TURN = 0.04  # standard deviation, radians
BRIGHTNESS, CONTRAST, SATURATION, TINT = 0.08, 0.15, 0.25, 0.04  # standard deviations


def altered(x: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Move and recolour images [N, 3, H, H] in [-1, 1]; deviations are multiplied by `strength`."""
    draws = strength * torch.randn(len(x), 10, generator=rng, device=x.device)
    return _recoloured(_moved(x, draws[:, :4]), draws[:, 4:]).clamp(-1, 1)


def grained(x: Tensor, most: float, rng: torch.Generator) -> Tensor:
    """Add noise whose standard deviation is uniform up to `most`, per image."""
    size = most * torch.rand(len(x), 1, 1, 1, generator=rng, device=x.device)
    return x + size * torch.randn(x.shape, generator=rng, device=x.device)


def _moved(x: Tensor, draws: Tensor) -> Tensor:
    """Shift, rotate and zoom; positions outside the image are mirrored."""
    zoom, turn = torch.exp2(ZOOM * draws[:, 0]), TURN * draws[:, 1]
    cos, sin = zoom * turn.cos(), zoom * turn.sin()
    rows = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    shift = 2 * SHIFT * draws[:, 2:4, None]  # grid coordinates span 2
    grid = affine_grid(torch.cat([rows, shift], 2), list(x.shape), align_corners=False)
    return grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _recoloured(x: Tensor, draws: Tensor) -> Tensor:
    brightness, contrast, saturation = draws[:, :3, None, None, None].unbind(1)
    tint = TINT * draws[:, 3:6, None, None]
    x = x * torch.exp2(CONTRAST * contrast) + BRIGHTNESS * brightness + tint
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * torch.exp2(SATURATION * saturation)
