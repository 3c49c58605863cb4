"""Predicts how hard each pixel of an image is to invert, in each latent space of a generator.

The invertibility predictor of Spatially-Adaptive Multilayer Selection, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357, section 3.1: a shared backbone with one head per space regresses
the perceptual error map that an inversion in this space leaves. The paper's backbone is a DeepLab
trained on ImageNet; ours is the face parser's U-Net and can start from its weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from invertory.networks.unet import UNet

if TYPE_CHECKING:
    from invertory.networks.face_parser import FaceParser


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorConfig:
    """The spaces, most editable first, and the sizes of the network."""

    spaces: tuple[str, ...]
    size_px: int = 64  # input size; images are resized to it
    widths: tuple[int, ...] = (32, 64, 96, 128)  # channels at `size_px`, 1/2, 1/4, ...
    head_width: int = 16

    def __post_init__(self) -> None:
        for name in ("spaces", "widths"):  # JSON has no tuples
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.spaces or len(set(self.spaces)) < len(self.spaces):
            raise ValueError(f"expected one or more unique spaces, got {list(self.spaces)}")
        if not self.widths or min(*self.widths, self.head_width) < 1:
            raise ValueError(
                f"expected positive channels for each size and the heads, got {list(self.widths)} "
                f"and {self.head_width}"
            )
        step = 2 ** (len(self.widths) - 1)
        if self.size_px < step or self.size_px % step:
            raise ValueError(f"expected a size in multiples of {step} px, got {self.size_px} px")


class InvertibilityPredictor(UNet):
    """Images x [N, 3, H, W] in [-1, 1] of any size => non-negative errors [N, num_spaces, px, px].

    px is `size_px`; errors have the unit of the perceptual distance used in training. `unit` is the
    error that in-domain images rarely exceed in the first space; thresholds in this unit do not
    depend on the distance. Frozen and in eval mode when loaded; trainable when constructed.
    """

    unit: Tensor

    _config: PredictorConfig

    def __init__(self, **config: Any) -> None:
        self._config = PredictorConfig(**config)
        widths, width = self._config.widths, self._config.head_width
        super().__init__(self._config.size_px, widths)
        self.spaces = self._config.spaces
        self.register_buffer("unit", torch.ones(()))
        self.heads = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[0], width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.LeakyReLU(0.2),
                nn.Conv2d(width, 1, 1),
                nn.Softplus(),  # instead of the paper's ReLU, whose gradient vanishes at 0
            )
            for _ in self.spaces
        )

    def start_from(self, parser: FaceParser) -> InvertibilityPredictor:
        """Copy the backbone of a trained parser of the same sizes; raises ValueError otherwise."""
        excluded = ("heads.", "unit")
        own = {k: v for k, v in self.state_dict().items() if not k.startswith(excluded)}
        trained = parser.state_dict()
        if any(name not in trained or trained[name].shape != own[name].shape for name in own):
            raise ValueError(
                f"expected a parser with widths {list(self._config.widths)}, got "
                f"{parser.config['widths']}: set widths to the parser's, or train without a parser"
            )
        self.load_state_dict({name: trained[name] for name in own}, strict=False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """[N, num_spaces, size_px, size_px], float32."""
        y = self.trunk(x)
        return torch.cat([head(y).float() for head in self.heads], 1)
