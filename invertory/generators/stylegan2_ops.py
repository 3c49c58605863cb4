"""Resampling with a small filter, and the activation, as StyleGAN2 defines them.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020,
https://arxiv.org/abs/1912.04958 (appendix B). Plain PyTorch: nothing is compiled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import (
    avg_pool2d,
    conv2d,
    conv_transpose2d,
    interpolate,
    leaky_relu,
    pad,
)

from invertory.generators.frozen import FrozenCache

FIR = (1, 3, 3, 1)  # binomial low-pass


def fir_filter(taps: Sequence[float] = FIR) -> Tensor:
    """Outer product of `taps` with itself, normalised to sum 1, [taps, taps]."""
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
    """Insert zeros, pad, convolve with `taps`, and keep every `down`-th sample.

    x [N, C, H, W]; `taps` is [h, w], or [n] for a separable n x n filter; `up` and `down` are (x,
    y); `padding` is (left, right, top, bottom) in samples after the zeros, and a negative value
    crops. This is a convolution, so the filter is mirrored.
    """
    left, right, top, bottom = padding
    if up != (1, 1):
        x = _zeros_between(x, up)
    inner = (0, 0)
    if left == right >= 0 and top == bottom >= 0 and taps.ndim == 2:
        inner = (top, left)  # the convolution pads by itself, which saves a pass over memory
    elif any(padding):
        x = pad(x, padding)
    kernels = [taps] if taps.ndim == 2 else [taps[:, None], taps[None, :]]
    for i, kernel in enumerate(kernels):
        x = _filtered(x, kernel.flip(0, 1) * (gain if i == 0 else 1.0), inner)
    return x[:, :, :: down[1], :: down[0]] if down != (1, 1) else x


class _Filter(torch.autograd.Function):
    """Convolution of every channel with one kernel, stride 1.

    Its gradient is a filter too; PyTorch's own backward of a grouped convolution does not exploit
    this and takes ten times as long on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.padding = padding
        weight = kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)
        return conv2d(x, weight, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (kernel,) = ctx.saved_tensors
        back = tuple(size - 1 - p for size, p in zip(kernel.shape, ctx.padding, strict=True))
        return _filtered(gradients[0], kernel.flip(0, 1), back), None, None


def _filtered(x: Tensor, kernel: Tensor, padding: tuple[int, ...]) -> Tensor:
    """Correlate x [N, C, H, W] with kernel [h, w], zeros outside; differentiable in x."""
    out: Tensor = _Filter.apply(x, kernel, padding)
    return out


class _Halve(torch.autograd.Function):
    """Means of 2x2; the backward repeats values, which is faster than PyTorch's own on a CPU."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return avg_pool2d(x, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return interpolate(gradients[0] / 4, scale_factor=2, mode="nearest")


def halve(x: Tensor) -> Tensor:
    """[N, C, 2H, 2W] => [N, C, H, W], means of 2x2."""
    out: Tensor = _Halve.apply(x)
    return out


def _zeros_between(x: Tensor, up: tuple[int, int]) -> Tensor:
    """[N, C, H, W] => [N, C, H * up[1], W * up[0]]: each sample, followed by zeros."""
    n, c, h, w = x.shape
    x = pad(x.reshape(n, c, h, 1, w, 1), (0, up[0] - 1, 0, 0, 0, up[1] - 1))
    return x.reshape(n, c, h * up[1], w * up[0])


def upsample2x(x: Tensor, taps: Tensor) -> Tensor:
    """[N, C, H, W] => [N, C, 2H, 2W]; constant images keep their value (gain 4 for the zeros)."""
    size = taps.shape[-1]
    if size % 2:
        before, after = (size + 1) // 2, (size - 2) // 2
        return upfirdn2d(x, taps, up=(2, 2), padding=(before, after, before, after), gain=4)
    # a transposed convolution does not write zeros to memory
    weight = (taps * 4).to(x.dtype).expand(x.shape[1], 1, -1, -1)
    return conv_transpose2d(x, weight, stride=2, padding=(size - 2) // 2, groups=x.shape[1])


def downsample2x(x: Tensor, taps: Tensor) -> Tensor:
    """[N, C, 2H, 2W] => [N, C, H, W]; constant images keep their value."""
    before, after = (taps.shape[-1] - 1) // 2, (taps.shape[-1] - 2) // 2
    return upfirdn2d(x, taps, down=(2, 2), padding=(before, after, before, after))


def conv2d_up2x(x: Tensor, weight: Tensor, taps: Tensor) -> Tensor:
    """Upsample by 2, low-pass, convolve: x [N, I, H, W], weight [O, I, k, k] => [N, O, 2H, 2W].

    The operations are linear and run in another order: a transposed convolution, then the filter;
    for k = 1 the convolution comes first, at the low resolution.
    """
    if weight.shape[-1] == 1:
        return upsample2x(conv2d(x, weight), taps)
    x = conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # [N, O, 2H + k - 2, ...]
    total = taps.shape[-1] - weight.shape[-1] + 1  # total padding for an output of 2H
    before = (total + 1) // 2
    return upfirdn2d(x, taps, padding=(before, total - before) * 2, gain=4)


def bias_lrelu(
    x: Tensor, bias: Tensor, *, gain: float = math.sqrt(2), clamp: float | None = None
) -> Tensor:
    """Leaky ReLU (slope 0.2) of x [N, C, ...] + bias, times `gain`, clamped to +- `clamp`."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    shift = (bias * gain).to(x.dtype).reshape(shape)
    # lrelu(a) * gain = lrelu(a * gain); the sum is a new tensor, so in place is safe
    x = leaky_relu(torch.add(shift, x, alpha=gain), 0.2, inplace=True)
    return x if clamp is None else x.clamp(-clamp, clamp)


def scale_shift_lrelu(
    x: Tensor, scale: Tensor, shift: Tensor, *, clamp: float | None = None
) -> Tensor:
    """Leaky ReLU (slope 0.2) of x * scale + shift in two passes over memory, in x's precision.

    x is [N, C, H, W]; scale and shift broadcast to it.
    """
    shift = shift.to(x.dtype, memory_format=layout(x))  # a sum of two layouts takes 3 times as long
    x = leaky_relu(torch.addcmul(shift, x, scale.to(x.dtype)), 0.2, inplace=True)
    return x if clamp is None else x.clamp(-clamp, clamp)


def conv2d_points(x: Tensor, weight: Tensor) -> Tensor:
    """1x1 convolution with a kernel per sample: x [N, I, H, W], weight [N, O, I] => [N, O, H, W].

    Both branches are matrix products; the chosen one keeps the layout of x and of its gradient.
    """
    n, inputs, height, width = x.shape
    if layout(x) == torch.channels_last:
        rows = x.permute(0, 2, 3, 1).reshape(n, height * width, inputs)
        product = (rows @ weight.transpose(1, 2)).transpose(1, 2)
    else:
        product = weight @ x.reshape(n, inputs, height * width)
    return product.reshape(n, -1, height, width)


def layout(x: Tensor) -> torch.memory_format:
    """`channels_last` if x is only channels-last in memory, else `contiguous_format`."""
    is_last = x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
    return torch.channels_last if is_last else torch.contiguous_format


def fit_convolutions(weight: Tensor, frozen: FrozenCache) -> Tensor:
    """Convert a kernel [O, I, k, k] to the fastest form for convolutions; cached while frozen.

    Under autocast the kernel is cast once. On a CPU it is laid out channels-last, and so are the
    resulting maps, whose convolutions are up to 4 times as fast.
    """
    kind = weight.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
    last = torch.channels_last if kind == "cpu" else torch.preserve_format

    def fitted() -> Tensor:
        return weight.to(dtype, memory_format=last)

    return frozen.get(("kernel", dtype), weight, fitted)
