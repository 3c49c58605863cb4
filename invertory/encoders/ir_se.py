"""IR-SE50, the face-recognition backbone of pSp, e4e and ReStyle, with their parameter names.

ArcFace, Deng et al. 2019, https://arxiv.org/abs/1801.07698 (improved residual units: norm first,
stride in the second convolution); squeeze and excitation: Hu et al. 2018,
https://arxiv.org/abs/1709.01507. The 50 layers form 24 units in four stages.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

UNITS = (3, 4, 14, 3)  # units of each stage
TAPS = (6, 20, 23)  # units whose maps have 1/4, 1/8 and 1/16 of the image's side
WIDTHS = (64, 128, 256, 512)


class SqueezeExcitation(nn.Module):
    """Scales channels by weights computed from the mean of the whole map."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, max(channels // reduction, 1), 1, bias=False)
        self.fc2 = nn.Conv2d(max(channels // reduction, 1), channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True))))
        out: Tensor = x * weights.sigmoid()
        return out


class Unit(nn.Module):
    """[N, inputs, H, W] => [N, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int, reduction: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = nn.MaxPool2d(1, stride)  # takes every stride-th pixel
        if inputs != outputs:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcitation(outputs, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return out


def input_layer(inputs: int, outputs: int) -> nn.Sequential:
    """3x3 convolution of the image, at its size."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.PReLU(outputs))


def body(widths: Sequence[int], reduction: int) -> nn.Sequential:
    """The 24 units; the first of each stage halves the size."""
    units, inputs = [], widths[0]
    for outputs, num in zip(widths, UNITS, strict=True):
        for i in range(num):
            units.append(Unit(inputs, outputs, 1 if i else 2, reduction))
            inputs = outputs
    return nn.Sequential(*units)
