"""Resampling by a small filter, and the activation, as StyleGAN2 defines them.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020,
https://arxiv.org/abs/1912.04958 (appendix B). Plain PyTorch: nothing is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, pad

FIR = (1, 3, 3, 1)  # binomial low-pass


def fir_filter(taps: Sequence[float] = FIR) -> Tensor:
    """Outer product of `taps` with itself, of sum 1, [taps, taps]."""
    row = torch.tensor(taps, dtype=torch.float32)
    return torch.outer(row, row) / row.sum().square()


def upfirdn2d(
    x: Tensor,
    taps: Tensor,
    *,
    up: tuple[int, int] = (1, 1),
    down: tuple[int, int] = (1, 1),
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    gain: float = 1.0,
) -> Tensor:
    """Zeros in, pad, convolve with `taps` ([h, w], or [n] for n x n separable), take every `down`.

    x [N, C, H, W]; `up` and `down` are (x, y); `padding` is (left, right, top, bottom) in samples
    after the zeros, a negative one crops. A convolution: the filter is mirrored as it slides.
    """
    n, c, h, w = x.shape
    ux, uy = up
    x = pad(x.reshape(n, c, h, 1, w, 1), (0, ux - 1, 0, 0, 0, uy - 1))
    x = pad(x.reshape(n, c, h * uy, w * ux), padding)
    kernels = [taps] if taps.ndim == 2 else [taps[:, None], taps[None, :]]
    for kernel in kernels:
        weight = kernel.flip(0, 1).to(x.dtype).expand(c, 1, -1, -1)
        x = conv2d(x, weight, groups=c)
    return x[:, :, :: down[1], :: down[0]] * gain


def upsample2x(x: Tensor, taps: Tensor) -> Tensor:
    """[N, C, H, W] => [N, C, 2H, 2W]; constant pictures keep their value (gain 4 for the zeros)."""
    size = taps.shape[-1]
    before, after = (size + 1) // 2, (size - 2) // 2
    return upfirdn2d(x, taps, up=(2, 2), padding=(before, after, before, after), gain=4)


def conv2d_up2x(x: Tensor, weight: Tensor, taps: Tensor) -> Tensor:
    """Upsample by 2, low-pass, convolve: x [N, I, H, W], weight [O, I, k, k] => [N, O, 2H, 2W].

    The order is turned round, as all of it is linear: a transposed convolution, then the filter;
    for k = 1 the convolution comes first, at the low resolution.
    """
    if weight.shape[-1] == 1:
        return upsample2x(conv2d(x, weight), taps)
    x = conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [N, O, 2H + k - 2, ...]
    total = taps.shape[-1] - weight.shape[-1] + 1  # of padding, for an output of 2H
    before = (total + 1) // 2
    return upfirdn2d(x, taps, padding=(before, total - before) * 2, gain=4)


def bias_lrelu(
    x: Tensor, bias: Tensor, *, gain: float = math.sqrt(2), clamp: float | None = None
) -> Tensor:
    """Leaky ReLU (slope 0.2) of x [N, C, ...] + bias, times `gain`, then held within +- `clamp`."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    x = leaky_relu(x + bias.reshape(shape), 0.2) * gain
    return x if clamp is None else x.clamp(-clamp, clamp)
