"""Key frames: the frames between inverted ones, from averages of their codes.

InvGAN: Invertable GANs, Ghosh, Zietlow, Black, Davis and Hu 2021, https://arxiv.org/abs/2112.04598,
section 4.3, "temporal interpolation": a frame's code is an average of the neighbouring frames'
codes, tile by tile, weighted by a Gaussian window in time. The paper does not state the window's
width; `SIGMA` is ours. Time is in any unit, and frames need not be evenly spaced.

    pair = TiledPair.over(frames.shape[-2:], encoder, generator)
    for batch in stream_frames(frames.split(16), times, key_times, pair): ...

For a long sequence, only the codes and one batch of frames are in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.editing.tiling import TiledPair

SIGMA: Final = 0.45  # width of the window, in spacings of key frames: see benchmarks/key_frames.py
MOST: Final = 16  # frames at once


def gaussian_weights(times: Tensor, key_times: Tensor, sigma: float) -> Tensor:
    """times [M], key_times [K] => weights [M, K], whose rows sum to 1.

    The weights are proportional to exp(-(t - t_k)^2 / (2 sigma^2)). As sigma goes to 0, a frame
    takes only the code of its nearest key frame; for a large sigma all frames take the mean. Raises
    `ValueError` for times that are not finite or a sigma of 0 or less.
    """
    _check_finite(times, "frames")
    _check_finite(key_times, "key frames")
    _check_wide(sigma)
    apart = times.double()[:, None] - key_times.double()
    # as logarithms, so that no row of a narrow window is all zeros
    return torch.softmax(-apart.square() / (2 * sigma**2), 1)


def linear_weights(times: Tensor, key_times: Tensor) -> Tensor:
    """times [M], ascending key_times [K] => [M, K]: linear weights of the two neighbours.

    Rows sum to 1. Before the first and after the last key frame, that key frame has all the weight.
    """
    _check_finite(times, "frames")
    _check_ascending(key_times)
    keys = key_times.double()
    if len(keys) == 1:
        return torch.ones(len(times), 1, dtype=torch.float64)
    at = times.double().clamp(float(keys[0]), float(keys[-1]))
    after = torch.searchsorted(keys, at).clamp(1, len(keys) - 1)
    share = (at - keys[after - 1]) / (keys[after] - keys[after - 1])
    weights = torch.zeros(len(times), len(keys), dtype=torch.float64)
    weights.scatter_(1, after[:, None] - 1, 1 - share[:, None])
    return weights.scatter_(1, after[:, None], share[:, None])


def average_codes(codes: Tensor, weights: Tensor) -> Tensor:
    """Average the codes [K, ...] of key frames with weights [M, K] => [M, ...].

    Raises `ValueError` if the weights do not fit.
    """
    if weights.ndim != 2 or weights.shape[1] != len(codes):
        raise ValueError(
            f"expected weights [M, {len(codes)}] for {len(codes)} key frames, got "
            f"{list(weights.shape)}"
        )
    flat = weights.to(codes.device, torch.float64) @ codes.flatten(1).double()
    return flat.reshape(-1, *codes.shape[1:]).to(codes.dtype)


def interpolate_frames(
    frames: Tensor, times: Tensor, key_times: Tensor, pair: TiledPair, *, sigma: float = SIGMA
) -> Tensor:
    """Key frames [K, 3, H, W] in [-1, 1] => all frames [M, 3, *shape_px], about [-1, 1].

    Key frames are at ascending `key_times` [K], frames at `times` [M]; `shape_px` is that of the
    pair's grid. Every frame is drawn from codes, including the key frames. `sigma` is in spacings
    of key frames, the mean distance between two. For sequences that do not fit into memory, use
    `stream_frames`.
    """
    return torch.cat(
        list(stream_frames(torch.split(frames, MOST), times, key_times, pair, sigma=sigma))
    )


def stream_frames(
    frames: Iterable[Tensor],
    times: Tensor,
    key_times: Tensor,
    pair: TiledPair,
    *,
    sigma: float = SIGMA,
    most: int = MOST,
) -> Iterator[Tensor]:
    """Yield the frames of `interpolate_frames` in batches of at most `most`.

    Key frames may come in batches of any size. All of them are encoded at once; frames are drawn
    lazily. Raises `ValueError` if frames and times do not fit.
    """
    _check_finite(times, "frames")
    _check_ascending(key_times)
    _check_wide(sigma)
    with torch.no_grad():
        codes = torch.cat([pair.codes(batch) for batch in frames])
    if len(codes) != len(key_times) or len(codes) < 2:
        raise ValueError(
            f"expected a time for each of at least two key frames, got {len(codes)} frames and "
            f"{len(key_times)} times"
        )
    spacing = float(key_times.double().diff().mean())
    weights = (
        gaussian_weights(batch, key_times, sigma * spacing) for batch in torch.split(times, most)
    )
    return _draw_frames(codes, weights, pair)


@torch.no_grad()
def _draw_frames(codes: Tensor, weights: Iterable[Tensor], pair: TiledPair) -> Iterator[Tensor]:
    """codes [K, num_tiles, rows, w_dim], weights [m, K] of each batch => its m frames."""
    for batch in weights:
        is_near = batch.amax(0) > 0  # far from a narrow window a weight is 0
        yield pair.images(average_codes(codes[is_near], batch[:, is_near]))


def slow_down(frames: Tensor, factor: int, pair: TiledPair, *, sigma: float = SIGMA) -> Tensor:
    """Slow a sequence [K, 3, H, W] down by `factor` => [(K - 1) factor + 1, 3, *shape_px].

    Raises `ValueError` if `factor` is less than 1.
    """
    if factor < 1:
        raise ValueError(f"expected a factor of 1 or more, got {factor}")
    key_times = torch.arange(len(frames)) * factor
    times = torch.arange(int(key_times[-1]) + 1)
    return interpolate_frames(frames, times, key_times, pair, sigma=sigma)


def _check_wide(sigma: float) -> None:
    if not sigma > 0:
        raise ValueError(
            f"expected a window wider than 0, got sigma {sigma}: use a small positive one"
        )


def _check_finite(times: Tensor, whose: str) -> None:
    if times.ndim != 1 or not len(times) or not torch.isfinite(times).all():
        raise ValueError(
            f"expected finite times [N] of {whose}, one for each, got {times.tolist()}: pass a "
            "time for every frame"
        )


def _check_ascending(key_times: Tensor) -> None:
    _check_finite(key_times, "key frames")
    is_bad = key_times.double().diff() <= 0
    if is_bad.any():
        at = int(is_bad.nonzero()[0])
        before, after = key_times[at : at + 2].tolist()
        raise ValueError(
            f"expected ascending times of key frames, got {after} after {before}: sort the frames "
            "by time, and remove those with equal times"
        )
