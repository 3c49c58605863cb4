"""Face parsing with a small U-Net: the segment of each pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.networks.unet import UNet

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserConfig:
    """The names of the segments, in the order of their logits, and the sizes of the network."""

    segments: tuple[str, ...]
    size_px: int = 64  # input size; images are resized to it
    widths: tuple[int, ...] = (32, 64, 96, 128)  # channels at `size_px`, 1/2, 1/4, ...

    def __post_init__(self) -> None:
        for name in ("segments", "widths"):  # JSON has no tuples
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.segments) < 2 or len(set(self.segments)) < len(self.segments):
            raise ValueError(f"expected two or more unique segments, got {list(self.segments)}")
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"expected positive channels for each size, got {list(self.widths)}")
        step = 2 ** (len(self.widths) - 1)
        if self.size_px < step or self.size_px % step:
            raise ValueError(
                f"expected a size in multiples of {step} px (it is halved "
                f"{len(self.widths) - 1} times), got {self.size_px} px"
            )


class FaceParser(UNet):
    """Images x [N, 3, H, W] in [-1, 1] of any size => logits [N, num_segments, H, W].

    Frozen and in eval mode when loaded; trainable when constructed.
    """

    _config: ParserConfig

    def __init__(self, **config: Any) -> None:
        self._config = ParserConfig(**config)
        super().__init__(self._config.size_px, self._config.widths)
        self.segments = self._config.segments
        self.head = nn.Conv2d(self._config.widths[0], len(self.segments), 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, num_segments, H, W]; computed at `size_px`, then resized to the image."""
        logits = self.head(self.trunk(x)).float()
        if logits.shape[2:] == x.shape[2:]:
            out: Tensor = logits
            return out
        return functional.interpolate(logits, list(x.shape[2:]), mode="bilinear", antialias=True)

    @torch.no_grad()
    def segment(self, x: Tensor) -> Tensor:
        """uint8 [N, H, W]: the index of the most likely segment."""
        out: Tensor = self(x).argmax(1).to(torch.uint8)
        return out
