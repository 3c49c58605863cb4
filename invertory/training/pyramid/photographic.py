"""Changes that tell photographs from a generator's images; ours, for encoders that learn from the
latter alone.

A photograph's crop is never placed quite as the generator places faces, its light and colours are
the camera's, and it has grain. All of it is small: what is asked of the encoder is the altered
image itself, so the generator must be able to make it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

SHIFT = 0.03  # deviation, of the side
ZOOM = 0.05  # deviation of log2
TURN = 0.04  # deviation, radians
BRIGHTNESS, CONTRAST, SATURATION, TINT = 0.08, 0.15, 0.25, 0.04  # deviations


def altered(x: Tensor, strength: float, rng: torch.Generator) -> Tensor:
    """Images [N, 3, H, H] in [-1, 1], moved and recoloured; deviations times `strength`."""
    draws = strength * torch.randn(len(x), 10, generator=rng, device=x.device)
    return _recoloured(_moved(x, draws[:, :4]), draws[:, 4:]).clamp(-1, 1)


def grained(x: Tensor, most: float, rng: torch.Generator) -> Tensor:
    """With noise of a deviation drawn up to `most`, for each image its own."""
    size = most * torch.rand(len(x), 1, 1, 1, generator=rng, device=x.device)
    return x + size * torch.randn(x.shape, generator=rng, device=x.device)


def _moved(x: Tensor, draws: Tensor) -> Tensor:
    """Out of the image it is mirrored."""
    zoom, turn = torch.exp2(ZOOM * draws[:, 0]), TURN * draws[:, 1]
    cos, sin = zoom * turn.cos(), zoom * turn.sin()
    rows = torch.stack([cos, -sin, sin, cos], 1).view(-1, 2, 2)
    shift = 2 * SHIFT * draws[:, 2:4, None]  # a grid is 2 wide
    grid = affine_grid(torch.cat([rows, shift], 2), list(x.shape), align_corners=False)
    return grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _recoloured(x: Tensor, draws: Tensor) -> Tensor:
    brightness, contrast, saturation = draws[:, :3, None, None, None].unbind(1)
    tint = TINT * draws[:, 3:6, None, None]
    x = x * torch.exp2(CONTRAST * contrast) + BRIGHTNESS * brightness + tint
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * torch.exp2(SATURATION * saturation)
