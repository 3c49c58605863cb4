"""How hard each pixel of an image is to invert, in each of a generator's latent spaces.

The invertibility predictor of Spatially-Adaptive Multilayer Selection, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357, section 3.1: one backbone, a head for each space, regressing the
perceptual error map that an inversion in that space leaves. The paper's backbone is a DeepLab
trained on ImageNet; ours is the face parser's U-Net, whose weights may be its start.
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
    """The spaces, the most editable first, and the network's sizes."""

    spaces: tuple[str, ...]
    size_px: int = 64  # of the images within; others are resized
    widths: tuple[int, ...] = (32, 64, 96, 128)  # channels at `size_px`, 1/2, 1/4, ...
    head_width: int = 16

    def __post_init__(self) -> None:
        for name in ("spaces", "widths"):  # JSON has no tuples
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.spaces or len(set(self.spaces)) < len(self.spaces):
            raise ValueError(f"expected spaces, each once, got {list(self.spaces)}")
        if not self.widths or min(*self.widths, self.head_width) < 1:
            raise ValueError(
                f"expected the channels of each size and of heads, got {list(self.widths)} and "
                f"{self.head_width}"
            )
        step = 2 ** (len(self.widths) - 1)
        if self.size_px < step or self.size_px % step:
            raise ValueError(f"expected a size in multiples of {step} px, got {self.size_px} px")


class InvertibilityPredictor(UNet):
    """Images x [N, 3, H, W] in [-1, 1] of any size => errors [N, num_spaces, px, px], 0 or more.

    px is `size_px`; errors are in the unit of the perceptual distance that it was trained for, and
    `unit` is the error which plain images rarely exceed in the first space, so that a threshold
    can be named in it whatever the distance. Frozen and in eval when loaded; made afresh it can be
    trained.
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
                nn.Softplus(),  # the paper's ReLU, which a head may never leave once it is at 0
            )
            for _ in self.spaces
        )

    def start_from(self, parser: FaceParser) -> InvertibilityPredictor:
        """Take the backbone of a trained parser of the same sizes."""
        excluded = ("heads.", "unit")
        own = {k: v for k, v in self.state_dict().items() if not k.startswith(excluded)}
        trained = parser.state_dict()
        if any(name not in trained or trained[name].shape != own[name].shape for name in own):
            raise ValueError(
                f"expected a parser of the widths {list(self._config.widths)}, got "
                f"{parser.config['widths']}: set widths to the parser's, or use none"
            )
        self.load_state_dict({name: trained[name] for name in own}, strict=False)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """[N, num_spaces, size_px, size_px], float32."""
        y = self.trunk(x)
        return torch.cat([head(y).float() for head in self.heads], 1)
