"""A small U-Net of residual blocks, the trunk of networks with an output per pixel.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
https://arxiv.org/abs/1505.04597; with padding, residual blocks in the contracting path, one
convolution per size in the expanding path, batch normalisation, and skip connections that are added
instead of concatenated (Chaurasia & Culurciello, "LinkNet", 2017,
https://arxiv.org/abs/1707.03718): the full resolution dominates the cost, and sums have half the
channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from invertory.checkpoints.network import ConfiguredNetwork
from invertory.networks.residual import ResidualBlock, resized


class Up(nn.Module):
    """y [N, inputs, h, w] and the skip connection x [N, outputs, 2h, 2w] => same shape as x."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        y = functional.interpolate(self.reduce(y), scale_factor=2.0, mode="nearest")
        return functional.silu(self.norm(self.conv(x + y)))


class UNet(ConfiguredNetwork):
    """The trunk; a subclass adds heads to its last map."""

    def __init__(self, size_px: int, widths: Sequence[int]) -> None:
        """`widths`: channels at `size_px`, 1/2, 1/4, ..."""
        super().__init__()
        self.size_px = size_px
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.downs = nn.ModuleList(ResidualBlock(i, o) for i, o in pairwise(widths))
        self.ups = nn.ModuleList(Up(i, o) for i, o in pairwise(widths[::-1]))

    def trunk(self, x: Tensor) -> Tensor:
        """x [N, 3, H, W] in [-1, 1] of any size => [N, widths[0], size_px, size_px]."""
        maps: list[Tensor] = [functional.silu(self.norm(self.stem(resized(x, self.size_px))))]
        for down in self.downs:
            maps.append(down(functional.avg_pool2d(maps[-1], 2)))
        y = maps.pop()
        for up in self.ups:
            y = up(y, maps.pop())
        return y
