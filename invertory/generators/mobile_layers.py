"""The layers of MobileStyleGAN (see mobile_stylegan.py for the paper and the network)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu, leaky_relu_, pixel_shuffle

AfterConv = Callable[[Tensor], Tensor]
NONE: Final = (None, None)


class MappingNetwork(nn.Module):
    """z => w: normalise z by its root mean square, then linear layers and leaky ReLUs."""

    def __init__(self, dim: int, num_layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(num_layers))

    def forward(self, z: Tensor) -> Tensor:
        # x = z / sqrt(mean(z^2) + 1e-8)
        x = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.layers:
            x = leaky_relu(layer(x), 0.2) * math.sqrt(2)
        return x


class Modulation(nn.Linear):
    """w [N, w_dim] => a scale per channel [N, C, 1, 1]; `gain` is 1 / sqrt(fan-in) of its conv."""

    def __init__(self, w_dim: int, channels: int, gain: float) -> None:
        super().__init__(w_dim, channels)
        self.gain = gain

    def forward(self, w: Tensor) -> Tensor:
        return (super().forward(w) * self.gain)[:, :, None, None]


class StyledConv(nn.Module):
    """Convolution of an input that is already scaled, then constant noise and leaky ReLU.

    Either dense 3x3, or depthwise 3x3 followed by 1x1 (`is_separable`).
    """

    noise: Tensor

    def __init__(self, w_dim: int, fan: tuple[int, int], size_px: int, is_separable: bool) -> None:
        super().__init__()
        inputs, outputs = fan
        self.modulation = Modulation(w_dim, inputs, 1 / math.sqrt(inputs * 9))
        self.is_separable = is_separable
        if is_separable:
            self.depthwise = nn.Parameter(torch.zeros(inputs, 1, 3, 3))
        kernel = 1 if is_separable else 3
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.zeros(1, 1, size_px, size_px))

    def forward(self, x: Tensor, hook: AfterConv | None = None) -> Tensor:
        """x [N, I, H, W] => [N, O, H, W]; the hook runs before noise, bias and activation."""
        bias = self.bias if hook is None else None
        if self.is_separable:
            x = conv2d(x, self.depthwise, padding=1, groups=x.shape[1])
            x = conv2d(x, self.weight, bias)
        else:
            x = conv2d(x, self.weight, bias, padding=1)
        if hook is not None:  # the hook may return a tensor that the caller keeps, so not in place
            x = hook(x) + self.bias[:, None, None].to(x.dtype)
        noise = self.noise.to(x.dtype)  # a sum of two dtypes would be slow
        return leaky_relu_(x.add_(noise), 0.2)  # in place: the convolution only keeps its input


class Block(nn.Module):
    """Wavelet upsampling to `size_px`, then two separable convolutions."""

    def __init__(self, w_dim: int, fan: tuple[int, int], size_px: int) -> None:
        super().__init__()
        inputs, outputs = fan
        self.up = Modulation(w_dim, inputs, 1.0)
        self.conv1 = StyledConv(w_dim, (inputs // 4, outputs), size_px, is_separable=True)
        self.conv2 = StyledConv(w_dim, (outputs, outputs), size_px, is_separable=True)

    def forward(self, x: Tensor, w: Tensor, hooks: Sequence[AfterConv | None] = NONE) -> Tensor:
        """x [N, C, H, W], w [N, 3, w_dim], one hook per convolution => [N, outputs, 2H, 2W]."""
        x = self.conv1(inverse_haar(x * self.scale(w)), hooks[0])
        out: Tensor = self.conv2(x * self.conv2.modulation(w[:, 2]), hooks[1])
        return out

    def scale(self, w: Tensor) -> Tensor:
        """w [N, 3, w_dim] => the scale of the block's input, [N, C, 1, 1].

        The scale of the transform times that of conv1, which commutes with the transform because
        the transform is linear in each channel.
        """
        conv1 = self.conv1.modulation(w[:, 1])
        out: Tensor = self.up(w[:, 0]) * torch.cat([conv1, conv1.repeat_interleave(3, 1)], 1)
        return out


def inverse_haar(x: Tensor) -> Tensor:
    """Inverse Haar transform, [N, 4 C, H, W] => [N, C, 2H, 2W].

    The first C channels are the low band; the others hold the vertical, horizontal and diagonal
    detail of each channel in turn.
    """
    n, c, h, w = x.shape
    if is_channels_last(x):
        return _inverse_haar_last(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    low, details = x.split_with_sizes([c // 4, c - c // 4], 1)  # the backward of slices is slow
    vertical, horizontal, diagonal = details.reshape(n, c // 4, 3, h, w).unbind(2)
    # x = (low +- vertical +- horizontal +- diagonal) / 2 at each corner of 2 x 2 px
    top, bottom = low + vertical, low - vertical
    slant, anti = horizontal + diagonal, horizontal - diagonal
    corners = torch.stack([top + slant, top - slant, bottom + anti, bottom - anti], 2)
    return pixel_shuffle(corners.flatten(1, 2), 2) * 0.5  # (N, C * 4, H, W) => (N, C, 2H, 2W)


def _inverse_haar_last(x: Tensor) -> Tensor:
    """The same for [N, H, W, 4 C] => [N, 2H, 2W, C], so that no gradient changes its layout."""
    n, h, w, c = x.shape
    low, details = x.split_with_sizes([c // 4, c - c // 4], 3)
    vertical, horizontal, diagonal = details.reshape(n, h, w, c // 4, 3).unbind(4)
    top, bottom = low + vertical, low - vertical
    slant, anti = horizontal + diagonal, horizontal - diagonal
    corners = torch.stack([top + slant, top - slant, bottom + anti, bottom - anti], 3)
    rows = corners.view(n, h, w, 2, 2, c // 4).transpose(2, 3)
    return rows.reshape(n, 2 * h, 2 * w, c // 4) * 0.5


def first_channels(x: Tensor, num: int) -> Tensor:
    """x[:, :num], with a gradient in the layout of x: any other layout is 15 times slower."""
    if is_channels_last(x):
        return x.permute(0, 2, 3, 1)[..., :num].permute(0, 3, 1, 2)
    return x[:, :num]


def is_channels_last(x: Tensor) -> bool:
    """Whether x [N, C, H, W] is channels-last in memory and not contiguous."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()
