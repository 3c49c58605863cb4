"""Visibility of tile borders: how far the slope across a border differs from its neighbours.

The measure follows blocking artefacts in coded images (Minami and Zakhor, "An optimization approach
for removing blocking effects in transform coding", 1995, https://doi.org/10.1109/76.388056, mean
squared difference of slopes), with absolute values instead of squares, so that a few strong edges
do not dominate. A ramp has a jump of 0; a step of height h at a border has a jump of h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Seams(NamedTuple):
    """Mean jumps per image [N], in units of the image range [-1, 1]."""

    border: Tensor  # at the borders of tiles
    inside: Tensor  # elsewhere, from the detail of the image

    @property
    def excess(self) -> Tensor:
        """[N]: the jump at borders minus the jump elsewhere; about 0 if no border is visible."""
        return self.border - self.inside

    @property
    def ratio(self) -> Tensor:
        """[N]: the jump at borders over the jump elsewhere; about 1 if no border is visible, NaN if
        flat.
        """
        return self.border / self.inside


def seams(images: Tensor, borders: Sequence[int]) -> Seams:
    """Images [N, C, H, W] and the first row and column after each border => `Seams`.

    Horizontal and vertical borders are combined. Positions adjacent to a border are excluded.
    """
    height, width = images.shape[-2:]
    if not borders or min(borders) < 2 or max(borders) > min(height, width) - 2:
        raise ValueError(
            f"expected borders from 2 to {min(height, width) - 2} px, got {list(borders)}: a "
            "seam is measured from two pixels on either side; one tile has no seam"
        )
    across, down = _jumps(images), _jumps(images.mT)
    is_border, is_inside = _places(borders, across.shape[1]), _places(borders, down.shape[1])
    border = torch.cat([across[:, is_border[0]], down[:, is_inside[0]]], 1).mean(1)
    inside = torch.cat([across[:, is_border[1]], down[:, is_inside[1]]], 1).mean(1)
    return Seams(border, inside)


def seam_excess(synth: Tensor, original: Tensor, borders: Sequence[int]) -> Tensor:
    """Both [N, C, H, W] => [N]: the excess at borders of `synth` over that of `original`.

    The value is 0 if the detail of the original explains the jumps at borders; the excess of an
    image alone is not 0 if an edge happens to lie on a border.
    """
    return seams(synth, borders).excess - seams(original, borders).excess


def _jumps(images: Tensor) -> Tensor:
    """[N, C, H, W] => [N, W - 3]: position j is between columns j + 1 and j + 2."""
    slope = images.double().diff(dim=-1)  # [N, C, H, W - 1]
    beside = (slope[..., :-2] + slope[..., 2:]) / 2
    return (slope[..., 1:-1] - beside).abs().mean((1, 2))


def _places(borders: Sequence[int], num: int) -> tuple[Tensor, Tensor]:
    """Booleans [num] over the positions of `_jumps`: at a border, and away from all borders."""
    at = torch.zeros(num, dtype=torch.bool)
    near = torch.zeros(num, dtype=torch.bool)
    for border in borders:
        place = border - 2  # the slope into the first pixel after the border
        at[place] = True
        near[max(place - 1, 0) : place + 2] = True
    return at, ~near
