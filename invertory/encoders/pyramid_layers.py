"""The layers of pSp, e4e and ReStyle above their backbones, with the published names.

pSp: Encoding in Style, Richardson et al. 2021, https://arxiv.org/abs/2008.00951, figure 2 and
appendix A: a small network of strided convolutions computes each style from one of three maps.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

SLOPE = 0.01  # slope of the heads' LeakyReLU


class EqualLinear(nn.Module):
    """A linear layer with equalised learning rate."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.1 * torch.randn(outputs, inputs))  # starts near the mean
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.scale = 1 / inputs**0.5

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.scale, self.bias)


class Style(nn.Module):
    """map2style: [N, inputs, size, size] => [N, w_dim], by halving down to one pixel."""

    def __init__(self, inputs: int, width: int, w_dim: int, size_px: int) -> None:
        super().__init__()
        widths = [inputs, *[width] * max(size_px.bit_length() - 1, 1)]
        layers: list[nn.Module] = []
        for i, o in itertools.pairwise(widths):
            convolution = nn.Conv2d(i, o, 3, 2, padding=1)
            # torch's default initialisation would halve the signal in each of up to six layers
            nn.init.kaiming_normal_(convolution.weight, SLOPE)
            layers += [convolution, nn.LeakyReLU(SLOPE)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(width, w_dim)

    def forward(self, x: Tensor) -> Tensor:
        style: Tensor = self.linear(self.convs(x).flatten(1))
        return style


def upsampled_sum(x: Tensor, y: Tensor) -> Tensor:
    """Resize x [N, C, h, w] to y [N, C, H, W], bilinearly with aligned corners, and add y."""
    return interpolate(x, size=y.shape[2:], mode="bilinear", align_corners=True) + y
