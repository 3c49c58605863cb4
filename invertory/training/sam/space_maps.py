"""Random maps of latent spaces, for the training of SAM's encoders.

Parmar et al. 2022, https://arxiv.org/abs/2206.08357, train with predicted maps. We draw them, so
that no predictor is needed and every threshold can be used afterwards: a map assigns one space to
the whole image, or a space to each segment, or a space to each of a few cells around random points
(similar to a map without refinement). Spaces are disjoint and equally likely.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

NUM_CELLS = 6


def checked_shares(shares: Sequence[float]) -> tuple[float, float, float]:
    """Validate the shares of the three kinds of maps; raises ValueError for negative ones."""
    if len(shares) != 3 or min(shares) < 0 or not sum(shares):
        raise ValueError(
            "expected non-negative shares of maps of one space, by segments and by cells, got "
            f"{list(shares)}"
        )
    one, segments, cells = shares
    return one, segments, cells


def space_maps(
    segmentations: Tensor, num_spaces: int, shares: tuple[float, float, float], rng: torch.Generator
) -> Tensor:
    """segmentations [N, H, W] uint8 => choice [N, H, W] uint8 below `num_spaces`.

    `shares` are those of maps of one space, by segments, and by cells.
    """
    device = segmentations.device
    kinds = torch.multinomial(
        torch.tensor(shares, dtype=torch.float32, device=device),
        len(segmentations),
        replacement=True,
        generator=rng,
    )[:, None, None]
    segments = _assigned(segmentations.long(), num_spaces, rng)
    cells = _assigned(_cells(segmentations.shape, rng), num_spaces, rng)
    single = _assigned(torch.zeros_like(segmentations, dtype=torch.long), num_spaces, rng)
    choice = torch.where(kinds == 0, single, torch.where(kinds == 1, segments, cells))
    return choice.to(torch.uint8)


def _assigned(regions: Tensor, num_spaces: int, rng: torch.Generator) -> Tensor:
    """Assign a random space to each region of each row: regions [N, H, W] int64 => like it."""
    num_regions = int(regions.max()) + 1
    shape = (len(regions), num_regions)
    spaces = torch.randint(num_spaces, shape, generator=rng, device=regions.device)
    return spaces.gather(1, regions.flatten(1)).view_as(regions)


def _cells(shape: torch.Size, rng: torch.Generator) -> Tensor:
    """[N, H, W] int64: the nearest of the row's random points."""
    num, height, width = shape
    points = torch.rand(num, NUM_CELLS, 2, 1, generator=rng, device=rng.device)
    y = (torch.arange(height, device=rng.device) + 0.5) / height
    x = (torch.arange(width, device=rng.device) + 0.5) / width
    down, across = (points[:, :, 0] - y).square(), (points[:, :, 1] - x).square()  # [N, P, H or W]
    nearest = torch.zeros(shape, dtype=torch.long, device=rng.device)
    least = torch.full(shape, torch.inf, device=rng.device)
    for i in range(NUM_CELLS):  # ten times as fast as argmin on a CPU
        distance = down[:, i, :, None] + across[:, i, None]
        nearest = torch.where(distance < least, i, nearest)
        least = torch.minimum(distance, least)
    return nearest
