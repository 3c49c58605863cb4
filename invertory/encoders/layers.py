"""The layers of In-Domain's encoder, with the names of its published checkpoints.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

SLOPE = 0.2


class Convolution(nn.Module):
    """Convolution without a bias.

    With an equalised learning rate, He's factor sqrt(2 / fan-in) is applied in the forward pass;
    otherwise the weights are initialised with it.
    """

    def __init__(self, inputs: int, outputs: int, size: int, *, equalised: bool = False) -> None:
        super().__init__()
        factor = math.sqrt(2 / (inputs * size * size))
        self.scale = factor if equalised else 1.0
        start = torch.randn(outputs, inputs, size, size) * (factor / self.scale)
        self.weight = nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight if self.scale == 1 else self.weight * self.scale
        return torch.conv2d(x, weight, padding=self.weight.shape[-1] // 2)


class Bias(nn.Module):
    """One number per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias[:, None, None]


class Norm(nn.Module):
    """Batch normalisation under the name `bn` that the checkpoints use."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn(x)
        return out


def norm(channels: int, use_bn: bool) -> nn.Module:
    return Norm(channels) if use_bn else nn.Identity()


class Stem(nn.Module):
    """3x3 convolution of the image, or of `inputs` channels if another image is stacked on it."""

    def __init__(
        self, outputs: int, *, inputs: int = 3, use_bn: bool = True, equalised: bool = False
    ) -> None:
        super().__init__()
        self.conv = Convolution(inputs, outputs, 3, equalised=equalised)
        self.bn = norm(outputs, use_bn)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(self.bn(self.conv(x)), SLOPE)


class Block(nn.Module):
    """Halves the size: 2x2 means, then two 3x3 convolutions with a shortcut.

    If the width changes, the shortcut is a 1x1 convolution with its own norm and activation.
    """

    def __init__(
        self, inputs: int, outputs: int, *, use_bn: bool = True, equalised: bool = False
    ) -> None:
        super().__init__()
        hidden = min(inputs, outputs)
        self.is_wider = inputs != outputs
        if self.is_wider:
            self.conv = Convolution(inputs, outputs, 1, equalised=equalised)
            self.bn = norm(outputs, use_bn)
        self.conv1 = Convolution(inputs, hidden, 3, equalised=equalised)
        self.wscale1 = Bias(hidden)
        self.bn1 = norm(hidden, use_bn)
        self.conv2 = Convolution(hidden, outputs, 3, equalised=equalised)
        self.wscale2 = Bias(outputs)
        self.bn2 = norm(outputs, use_bn)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] => [N, outputs, H / 2, W / 2]."""
        x = nn.functional.avg_pool2d(x, 2)
        y = leaky_relu(self.bn1(self.wscale1(self.conv1(x))), SLOPE)
        y = leaky_relu(self.bn2(self.wscale2(self.conv2(y))), SLOPE)
        return y + (leaky_relu(self.bn(self.conv(x)), SLOPE) if self.is_wider else x)


def resize_to(x: Tensor, size_px: int) -> Tensor:
    """Resize x [N, 3, H, H] to `size_px`: by area means down, bilinearly up.

    Raises `ValueError` if x is not square RGB.
    """
    if x.dim() != 4 or x.shape[1] != 3 or x.shape[2] != x.shape[3]:
        raise ValueError(
            f"expected square images [N, 3, H, H], got {list(x.shape)}: align them first"
        )
    if x.shape[-1] == size_px:
        return x
    mode = "area" if x.shape[-1] > size_px else "bilinear"
    return interpolate(x, size=(size_px, size_px), mode=mode)


def check_sizes(resolution: int, num_ws: int, w_dim: int) -> None:
    """Check that the input can be halved down to 4 px and that the latent is not empty."""
    if resolution < 8 or resolution & (resolution - 1) or num_ws < 1 or w_dim < 1:
        raise ValueError(
            "expected a resolution of 8, 16, 32, ... px and num_ws and w_dim of at least 1, got "
            f"{resolution} px, {num_ws} and {w_dim}"
        )
