"""SWD: the sliced Wasserstein distance between patches of two sets of images, per level.

Karras et al., "Progressive Growing of GANs for Improved Quality, Stability, and Variation", 2018,
https://arxiv.org/abs/1710.10196, section 5. Coarse levels measure layout, fine ones texture; no
network is involved. Both sets must have the same number of images. Values are multiplied by 1000,
as published.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

PATCH_PX = 7
MIN_LEVEL_PX = 16
_TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt and Adelson's binomial low-pass


@dataclass(frozen=True, slots=True, kw_only=True)
class SlicedWasserstein:
    """The number of patches and directions; the defaults are the paper's."""

    patches_per_image: int = 128
    repeats: int = 4
    directions: int = 128  # per repeat
    seed: int = 0

    def __call__(self, real: Tensor, synth: Tensor) -> dict[int, float]:
        """Images [N, C, R, R] of any one range => {level px: distance x 1000}, finest first.

        Raises ValueError unless both sets have the same square shape.
        """
        if real.shape != synth.shape or real.ndim != 4 or real.shape[-1] != real.shape[-2]:
            raise ValueError(
                "expected two sets with the same number of square images of one size, got "
                f"{list(real.shape)} and {list(synth.shape)}"
            )
        rng = torch.Generator().manual_seed(self.seed)
        distances = {}
        for a, b in zip(laplacian_pyramid(real), laplacian_pyramid(synth), strict=True):
            level_px = a.shape[-1]
            a = standardised(self._patches(a, rng))
            b = standardised(self._patches(b, rng))
            directions = [self._directions(a.shape[1], rng).to(a) for _ in range(self.repeats)]
            distances[level_px] = 1000 * sliced_wasserstein(a, b, directions)
        return distances

    def _patches(self, level: Tensor, rng: torch.Generator) -> Tensor:
        half, size_px = PATCH_PX // 2, level.shape[-1]
        count = len(level) * self.patches_per_image
        centres = torch.randint(half, size_px - half, (2, count), generator=rng)
        return patches_at(level, centres.to(level.device))

    def _directions(self, dim: int, rng: torch.Generator) -> Tensor:
        drawn = torch.randn(dim, self.directions, generator=rng)
        out: Tensor = drawn / drawn.norm(dim=0)
        return out


def laplacian_pyramid(x: Tensor) -> list[Tensor]:
    """[N, C, R, R] => bands of R, R/2, ... px; the last, of at least 16 px, is the low-pass."""
    return list(_bands(x.float()))


def _bands(x: Tensor) -> Iterator[Tensor]:
    while x.shape[-1] >= 2 * MIN_LEVEL_PX:
        smaller = _blurred(x)[..., ::2, ::2]
        wide = torch.zeros_like(x)
        wide[..., ::2, ::2] = smaller
        yield x - 4 * _blurred(wide)
        x = smaller
    yield x


def _blurred(x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    taps = torch.tensor(_TAPS, device=x.device)
    x = pad(x.reshape(n * c, 1, h, w), (2, 2, 2, 2), mode="reflect")
    x = conv2d(conv2d(x, taps.view(1, 1, 1, -1)), taps.view(1, 1, -1, 1))
    return x.reshape(n, c, h, w)


def patches_at(level: Tensor, centres: Tensor) -> Tensor:
    """Level [N, C, R, R], centres [2 (x, y), N * k] px => [N * k, C, 7, 7], k per image."""
    around = torch.arange(PATCH_PX, device=level.device) - PATCH_PX // 2
    count = centres.shape[1]
    image = torch.arange(count, device=level.device) // (count // len(level))
    x = (centres[0].long()[:, None] + around)[:, None, None, :]  # [N k, 1, 1, 7]
    y = (centres[1].long()[:, None] + around)[:, None, :, None]  # [N k, 1, 7, 1]
    channel = torch.arange(level.shape[1], device=level.device)[:, None, None]
    return level[image[:, None, None, None], channel, y, x]


def standardised(patches: Tensor) -> Tensor:
    """[M, C, 7, 7] => [M, C * 49], each channel standardised to mean 0 and deviation 1."""
    std, mean = torch.std_mean(patches.double(), (0, 2, 3), correction=0, keepdim=True)
    return ((patches.double() - mean) / std).flatten(1).float()


def sliced_wasserstein(a: Tensor, b: Tensor, directions: list[Tensor]) -> float:
    """a, b [M, d]; `directions` [d, K] with unit columns => the mean distance along them.

    Mean of |sort(a u) - sort(b u)| over rows and directions u.
    """
    along = [
        ((a @ unit).sort(0).values - (b @ unit).sort(0).values).abs().double().mean()
        for unit in directions
    ]
    return float(torch.stack(along).mean())
