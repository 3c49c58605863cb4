"""Face parsing: which segment each pixel belongs to, by a small U-Net.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015,
https://arxiv.org/abs/1505.04597; with padding, residual blocks on the way down, one convolution a
size on the way up, batch normalisation, and maps of the way down added rather than concatenated
(Chaurasia & Culurciello, "LinkNet", 2017, https://arxiv.org/abs/1707.03718): the full size is
where the time goes, and sums have half the channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.checkpoints.strict import arguments_of, load_strictly
from invertory.networks.classifier import ResidualBlock, resized

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserConfig:
    """The segments' names, in the order of their logits, and the network's sizes."""

    segments: tuple[str, ...]
    size_px: int = 64  # of the pictures within; others are resized
    widths: tuple[int, ...] = (32, 64, 96, 128)  # channels at `size_px`, 1/2, 1/4, ...

    def __post_init__(self) -> None:
        for name in ("segments", "widths"):  # JSON has no tuples
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.segments) < 2 or len(set(self.segments)) < len(self.segments):
            raise ValueError(f"expected two segments or more, got {list(self.segments)}")
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"expected the channels of each size, got {list(self.widths)}")
        step = 2 ** (len(self.widths) - 1)
        if self.size_px < step or self.size_px % step:
            raise ValueError(
                f"expected a size in multiples of {step} px (it is halved "
                f"{len(self.widths) - 1} times), got {self.size_px} px"
            )


class Up(nn.Module):
    """y [N, inputs, h, w] and the map x [N, outputs, 2h, 2w] of the way down => like x."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(inputs, outputs, 1)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, y: Tensor, x: Tensor) -> Tensor:
        y = functional.interpolate(self.reduce(y), scale_factor=2.0, mode="nearest")
        return functional.silu(self.norm(self.conv(x + y)))


class FaceParser(nn.Module):
    """Pictures x [N, 3, H, W] in [-1, 1] of any size => logits [N, num_segments, H, W].

    Frozen and in eval when loaded; made afresh it can be trained.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self._config = ParserConfig(**config)
        widths = self._config.widths
        self.segments = self._config.segments
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.downs = nn.ModuleList(ResidualBlock(i, o) for i, o in pairwise(widths))
        self.ups = nn.ModuleList(Up(i, o) for i, o in pairwise(widths[::-1]))
        self.head = nn.Conv2d(widths[0], len(self.segments), 1)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor; JSON-able."""
        return arguments_of(self._config)

    @property
    def size_px(self) -> int:
        return self._config.size_px

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> FaceParser:
        """The network of a checkpoint, frozen and in eval; raises `ArchitectureError`."""
        return load_strictly(cls(**config), tensors).eval().requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """[N, num_segments, H, W]; computed at `size_px`, then brought to the picture's size."""
        maps = [functional.silu(self.norm(self.stem(resized(x, self.size_px))))]
        for down in self.downs:
            maps.append(down(functional.avg_pool2d(maps[-1], 2)))
        y = maps.pop()
        for up in self.ups:
            y = up(y, maps.pop())
        logits = self.head(y).float()
        if logits.shape[2:] == x.shape[2:]:
            return logits
        return functional.interpolate(logits, list(x.shape[2:]), mode="bilinear", antialias=True)

    @torch.no_grad()
    def segment(self, x: Tensor) -> Tensor:
        """uint8 [N, H, W]: the likeliest segment's index."""
        return self(x).argmax(1).to(torch.uint8)
