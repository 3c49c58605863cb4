"""Key frames: the frames between two that were inverted, from averages of their codes.

InvGAN: Invertable GANs, Ghosh, Zietlow, Black, Davis and Hu 2021, https://arxiv.org/abs/2112.04598,
section 4.3, "temporal interpolation": a frame's code is an average of the neighbouring frames'
codes, tile by tile, weighted by a Gaussian window in time. The window's width is not told there;
`SIGMA` is ours. Time is in any unit; frames need not be evenly spaced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.editing.tiling import TiledPair

SIGMA: Final = 0.45  # of the window, in spacings of key frames: see benchmarks/key_frames.py
Weights = Callable[["Tensor", "Tensor"], "Tensor"]  # times [M], key times [K] => [M, K]


def gaussian_weights(times: Tensor, key_times: Tensor, sigma: float) -> Tensor:
    """times [M], key_times [K] => [M, K], rows sum to 1: exp(-(t - t_k)^2 / (2 sigma^2)), scaled.

    As sigma goes to 0 a frame takes its nearest key frame's code alone, and a key frame its own;
    where sigma is large all take the mean.
    """
    if sigma <= 0:
        raise ValueError(f"expected a window wider than 0, got sigma {sigma}; a small one does")
    apart = times.double()[:, None] - key_times.double()
    # as logarithms, so that no row of a narrow window is all zeros
    return torch.softmax(-apart.square() / (2 * sigma**2), 1)


def linear_weights(times: Tensor, key_times: Tensor) -> Tensor:
    """times [M], ascending key_times [K] => [M, K], rows sum to 1: of the two neighbours by time.

    Before the first and after the last key frame, that one alone.
    """
    keys = key_times.double()
    if len(keys) == 1:
        return torch.ones(len(times), 1, dtype=torch.float64)
    if (keys.diff() <= 0).any():
        raise ValueError(f"expected ascending times of key frames, got {key_times.tolist()}")
    at = times.double().clamp(float(keys[0]), float(keys[-1]))
    after = torch.searchsorted(keys, at).clamp(1, len(keys) - 1)
    share = (at - keys[after - 1]) / (keys[after] - keys[after - 1])
    weights = torch.zeros(len(times), len(keys), dtype=torch.float64)
    weights.scatter_(1, after[:, None] - 1, 1 - share[:, None])
    return weights.scatter_(1, after[:, None], share[:, None])


def averaged(codes: Tensor, weights: Tensor) -> Tensor:
    """codes [K, ...] of key frames, weights [M, K] => [M, ...]."""
    if weights.ndim != 2 or weights.shape[1] != len(codes):
        raise ValueError(
            f"expected weights [M, {len(codes)}] for {len(codes)} key frames, got "
            f"{list(weights.shape)}"
        )
    flat = weights.to(codes.device, torch.float64) @ codes.flatten(1).double()
    return flat.reshape(-1, *codes.shape[1:]).to(codes.dtype)


@torch.no_grad()
def key_framed(
    frames: Tensor, times: Tensor, key_times: Tensor, pair: TiledPair, *, sigma: float = SIGMA
) -> Tensor:
    """Key frames [K, 3, H, H] in [-1, 1] at `key_times` [K] => frames [M, 3, S, S] at `times` [M].

    Every frame is drawn from codes, the key frames too. `sigma` is in spacings of key frames, the
    mean distance between two; S is the size of the pair's grid.
    """
    if len(frames) != len(key_times) or len(frames) < 2:
        raise ValueError(
            f"expected a time for each of at least two key frames, got {len(frames)} frames and "
            f"{len(key_times)} times"
        )
    spacing = float(key_times.double().diff().mean())
    weights = gaussian_weights(times, key_times, sigma * spacing)
    return pair.pictures(averaged(pair.codes(frames), weights))


@torch.no_grad()
def slowed(frames: Tensor, factor: int, pair: TiledPair, *, sigma: float = SIGMA) -> Tensor:
    """A sequence [K, 3, H, H] => [(K - 1) factor + 1, 3, S, S]: `factor` frames for each."""
    if factor < 1:
        raise ValueError(f"expected a factor from 1, got {factor}")
    key_times = torch.arange(len(frames)) * factor
    times = torch.arange(int(key_times[-1]) + 1)
    return key_framed(frames, times, key_times, pair, sigma=sigma)
