"""Regression of the 68 landmarks of a portrait, so that portraits need no detector of photographs.

A residual trunk as in the classifier; a linear layer reads the whole last map, since positions of
features are the target, and predicts offsets from the mean shape. An image must show exactly one
head.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.alignment import Points, anchors_from_landmarks
from invertory.checkpoints.network import ConfiguredNetwork
from invertory.images import to_tensor
from invertory.landmarks import Face
from invertory.networks.residual import ResidualBlock, resized

if TYPE_CHECKING:
    from invertory.images import Pixels

NUM_POINTS: Final = 68  # in iBUG order
WINDOW: Final = 2.5  # side of the second pass's window, in longer sides of the points' box
OFFSET: Final = -0.1  # of the window's centre, in sides: landmarks do not cover the forehead


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressorConfig:
    """The sizes of the network."""

    size_px: int = 64  # input size; images are resized to it
    widths: tuple[int, ...] = (32, 64, 96, 128)  # channels at 1/2, 1/4, ... of `size_px`

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON has no tuples
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f"expected positive channels of each stage, got {list(self.widths)}")
        step = 2 ** len(self.widths)
        if self.size_px < step or self.size_px % step:
            raise ValueError(
                f"expected a size in multiples of {step} px (it is halved {len(self.widths)} "
                f"times), got {self.size_px} px"
            )


class LandmarkRegressor(ConfiguredNetwork):
    """Images x [N, 3, H, W] in [-1, 1] of one head => points [N, 68, 2] (x, y) px, iBUG order.

    Coordinates are pixels of x, with integers at pixel centres. Frozen and in eval mode when
    loaded; trainable when constructed.
    """

    mean_shape: Tensor

    _config: RegressorConfig

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self._config = RegressorConfig(**config)
        self.size_px = self._config.size_px
        widths = (self._config.widths[0], *self._config.widths)
        self.stem = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(widths[0])
        self.stages = nn.ModuleList(ResidualBlock(i, o) for i, o in pairwise(widths))
        last_px = self._config.size_px // 2 ** len(self._config.widths)
        self.head = nn.Linear(widths[-1] * last_px**2, 2 * NUM_POINTS)
        self.register_buffer("mean_shape", torch.zeros(NUM_POINTS, 2))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 68, 2]: points (x, y) in pixels of x."""
        size = x.new_tensor([x.shape[3], x.shape[2]], dtype=torch.float32)
        return self.normalised_points(x) * size - 0.5

    def normalised_points(self, x: Tensor) -> Tensor:
        """[N, 68, 2]: points (x, y) as shares of the sides, 0 at the left and top edges."""
        y = functional.silu(self.norm(self.stem(resized(x, self.size_px))))
        for stage in self.stages:
            y = stage(functional.avg_pool2d(y, 2))
        offsets = self.head(y.flatten(1)).float().view(-1, NUM_POINTS, 2)
        out: Tensor = self.mean_shape + offsets
        return out


class RegressionFaceDetector:
    """A `LandmarkRegressor` as a `FaceDetector`, for images that show one head each.

    It runs twice: on the whole image, then on a window around the points. If the two results
    disagree, it reports no face. This is no test for the presence of a head: most images without
    one (noise, a single colour) pass.
    """

    def __init__(self, regressor: LandmarkRegressor, *, max_disagreement: float = 0.35) -> None:
        """`max_disagreement` of the two passes: mean distance in units of the inter-ocular
        distance.
        """
        self._regressor = regressor.eval()
        self._max_disagreement = max_disagreement

    def detect(self, image: Pixels) -> list[Face]:
        """uint8 [H, W, 3] => the head, or no face if the two passes disagree."""
        height, width = image.shape[:2]
        whole = (np.array([width - 1, height - 1]) / 2, float(max(width, height)))
        first = self._regress(image, *whole)
        low, high = first.min(0), first.max(0)
        side = WINDOW * float((high - low).max())
        if not 1 < side < 4 * whole[1]:
            return []
        second = self._regress(image, (low + high) / 2 + [0, OFFSET * side], side)
        anchors = anchors_from_landmarks(second)
        eye_to_eye = float(np.hypot(*(anchors[1] - anchors[0])))
        distance = float(np.hypot(*(first - second).T).mean())
        if eye_to_eye <= 0 or distance > self._max_disagreement * eye_to_eye:
            return []
        box = (*second.min(0).tolist(), *second.max(0).tolist())
        confidence = 1 - distance / (self._max_disagreement * eye_to_eye)
        return [Face(box, confidence, anchors, second)]

    @torch.no_grad()
    def _regress(self, image: Pixels, centre: Points, side: float) -> Points:
        """Points [68, 2] in pixels of the image, regressed from the square of `side` px."""
        left, top = (int(c) for c in np.floor(centre - side / 2 + 0.5))
        px = max(round(side), 1)
        square = crop_square(image, left, top, px)
        device = self._regressor.mean_shape.device
        points = self._regressor(to_tensor(square).to(device))[0]
        return np.asarray(points.double().cpu().numpy() + np.array([left, top]))


def crop_square(image: Pixels, left: int, top: int, side: int) -> Pixels:
    """The square [side, side, 3] at (left, top); beyond the image, edge pixels are repeated."""
    rows = np.clip(np.arange(top, top + side), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(left, left + side), 0, image.shape[1] - 1)
    return image[rows[:, None], columns]
