"""Whether the borders of tiles show: how far the slope across a border is from those beside it.

The measure is that of blocking in coded images (Minami and Zakhor, "An optimization approach for
removing blocking effects in transform coding", 1995, https://doi.org/10.1109/76.388056, mean
squared difference of slopes), with absolute values in place of squares, so that a few strong edges
of the image do not decide. A ramp has none; a step of height h at a border has h.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Seams(NamedTuple):
    """Mean jumps per image [N], in units of the images' range [-1, 1]."""

    border: Tensor  # at the borders of tiles
    inside: Tensor  # everywhere else: what the image's own detail gives

    @property
    def excess(self) -> Tensor:
        """[N]: how much more there is at borders than elsewhere; about 0 where none shows."""
        return self.border - self.inside

    @property
    def ratio(self) -> Tensor:
        """[N]: jumps at borders over those elsewhere, about 1 where none shows; NaN if flat."""
        return self.border / self.inside


def seams(images: Tensor, borders: Sequence[int]) -> Seams:
    """images [N, C, H, W], `borders`: the first row and column after each border => `Seams`.

    Across and down together. Places that touch a border from beside it count on neither side.
    """
    height, width = images.shape[-2:]
    if not borders or min(borders) < 2 or max(borders) > min(height, width) - 2:
        raise ValueError(
            f"expected borders from 2 to {min(height, width) - 2} px, got {list(borders)}: a seam "
            "is told from two pixels on either side of it; one tile has none"
        )
    across, down = _jumps(images), _jumps(images.mT)
    is_border, is_inside = _places(borders, across.shape[1]), _places(borders, down.shape[1])
    border = torch.cat([across[:, is_border[0]], down[:, is_inside[0]]], 1).mean(1)
    inside = torch.cat([across[:, is_border[1]], down[:, is_inside[1]]], 1).mean(1)
    return Seams(border, inside)


def seam_excess(synth: Tensor, original: Tensor, borders: Sequence[int]) -> Tensor:
    """Both [N, C, H, W] => [N]: the excess at borders that `made` has over what `original` has.

    0 where the original's detail explains all that is at the borders; its own excess is not 0 where
    an edge happens to lie on a border.
    """
    return seams(synth, borders).excess - seams(original, borders).excess


def _jumps(images: Tensor) -> Tensor:
    """[N, C, H, W] => [N, W - 3]: place j is between the columns j + 1 and j + 2."""
    slope = images.double().diff(dim=-1)  # [N, C, H, W - 1]
    beside = (slope[..., :-2] + slope[..., 2:]) / 2
    return (slope[..., 1:-1] - beside).abs().mean((1, 2))


def _places(borders: Sequence[int], num: int) -> tuple[Tensor, Tensor]:
    """Booleans [num] of `_jumps`' places: at a border, and clear of all borders."""
    at = torch.zeros(num, dtype=torch.bool)
    near = torch.zeros(num, dtype=torch.bool)
    for border in borders:
        place = border - 2  # the slope into the first pixel after the border
        at[place] = True
        near[max(place - 1, 0) : place + 2] = True
    return at, ~near
