"""A calibrated classifier of many attributes: a small residual network.

He et al., "Deep Residual Learning for Image Recognition", 2016, https://arxiv.org/abs/1512.03385,
with two convolutions per stage, average pooling instead of strides, and SiLU (Elfwing et al. 2017,
https://arxiv.org/abs/1702.03118), so that distances between its features have smooth gradients. The
first downsampling keeps all pixels as channels, because lips and glasses frames are one pixel thin.
The last map is summed with one weight per position and channel (Chen et al., "MobileFaceNets",
2018, https://arxiv.org/abs/1804.07573, section 3.1), since aligned faces have fixed layouts. One
temperature per attribute calibrates the logits (`invertory/calibration.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.checkpoints.network import ConfiguredNetwork
from invertory.images import to_tensor
from invertory.networks.residual import ResidualBlock, resized
from invertory.scoring import BadScore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invertory.images import Pixels
    from invertory.scoring import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierConfig:
    """The attributes to predict, and the sizes of the network."""

    binary: tuple[str, ...]
    continuous: tuple[str, ...] = ()
    size_px: int = 64  # input size; images are resized to it
    stem: int = 16  # channels at `size_px`
    widths: tuple[int, ...] = (32, 64, 128, 192)  # channels at 1/2, 1/4, ... of `size_px`

    def __post_init__(self) -> None:
        for name in ("binary", "continuous", "widths"):  # JSON has no tuples
            object.__setattr__(self, name, tuple(getattr(self, name)))
        names = self.binary + self.continuous
        if not self.binary or len(set(names)) < len(names):
            raise ValueError(
                f"expected at least one binary attribute and unique names, got {list(names)}"
            )
        if not self.widths or min(self.stem, *self.widths) < 1:
            raise ValueError(
                f"expected positive channels of stem and stages, got {self.stem} and "
                f"{list(self.widths)}"
            )
        if self.size_px < 2 ** len(self.widths) or self.size_px % 2 ** len(self.widths):
            raise ValueError(
                f"expected a size in multiples of {2 ** len(self.widths)} px (it is halved "
                f"{len(self.widths)} times), got {self.size_px} px"
            )


class AttributeClassifier(ConfiguredNetwork):
    """Images x [N, 3, H, W] in [-1, 1] of any size => attributes [N, A].

    Columns are `attributes`: the binary ones, then the continuous ones. Frozen and in eval mode
    when loaded; trainable when constructed.
    """

    temperature: Tensor
    mean: Tensor
    spread: Tensor

    _config: ClassifierConfig

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self._config = ClassifierConfig(**config)
        self.size_px = self._config.size_px
        stem, widths = self._config.stem, (4 * self._config.stem, *self._config.widths)
        self.attributes = self._config.binary + self._config.continuous
        self.num_binary = len(self._config.binary)
        self.stem = nn.Conv2d(3, stem, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(stem)
        self.stages = nn.ModuleList(ResidualBlock(i, o) for i, o in pairwise(widths))
        last_px = self._config.size_px // 2 ** len(self._config.widths)
        self.places = nn.Parameter(torch.full((widths[-1], last_px, last_px), 1 / last_px**2))
        self.head = nn.Linear(widths[-1], len(self.attributes))
        num_continuous = len(self._config.continuous)
        self.register_buffer("temperature", torch.ones(self.num_binary))
        self.register_buffer("mean", torch.zeros(num_continuous))
        self.register_buffer("spread", torch.ones(num_continuous))

    def forward(self, x: Tensor) -> Tensor:
        """[N, A]: calibrated logits of binary attributes, continuous ones in their units."""
        return self.calibrated(self.raw(x))

    def scores(self, x: Tensor) -> Tensor:
        """[N, A]: probabilities of binary attributes, continuous ones in their units."""
        logits, values = torch.split(self(x), [self.num_binary, len(self.mean)], 1)
        return torch.cat([logits.sigmoid(), values], 1)

    def raw(self, x: Tensor) -> Tensor:
        """[N, A]: logits before calibration, then standardised values, as trained."""
        out: Tensor = self.head(self.embedding(x)).float()
        return out

    def calibrated(self, raw: Tensor) -> Tensor:
        """Map outputs of `raw` to those of `forward`."""
        logits, values = torch.split(raw, [self.num_binary, len(self.mean)], 1)
        return torch.cat([logits / self.temperature, values * self.spread + self.mean], 1)

    def embedding(self, x: Tensor) -> Tensor:
        """[N, D]: the weighted sum of the last map over its positions."""
        return (self.features(x)[-1] * self.places).sum((2, 3))

    def features(self, x: Tensor) -> list[Tensor]:
        """One map [N, C, h, w] per stage: the stem at `size_px`, then halved; differentiable."""
        maps = [functional.silu(self.norm(self.stem(resized(x, self.size_px))))]
        for i, stage in enumerate(self.stages):
            halved = functional.avg_pool2d(maps[-1], 2) if i else pixel_unshuffle(maps[-1])
            maps.append(stage(halved))
        return maps


def pixel_unshuffle(x: Tensor) -> Tensor:
    """[N, C, 2h, 2w] => [N, 4C, h, w]; preserves a channels-last memory layout."""
    phases = [x[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return torch.cat(phases, 1)


class ClassifierScorer:
    """An `AttributeClassifier` as a scorer: probabilities, and continuous values in their units.

    Batches are padded to `batch_size`, so that the kernels, and thus the scores of an image, do not
    depend on the other images of its batch.
    """

    def __init__(
        self,
        classifier: AttributeClassifier,
        names: Sequence[str] | None = None,
        *,
        batch_size: int = 16,
    ) -> None:
        unknown = [name for name in names or () if name not in classifier.attributes]
        if unknown or (names is not None and not names):
            raise ValueError(
                f"expected attributes among {list(classifier.attributes)}, got {unknown}: "
                "name what this classifier was trained for"
            )
        self.names = tuple(names or classifier.attributes)
        self._columns = [classifier.attributes.index(name) for name in self.names]
        self._classifier, self._batch_size = classifier.eval(), batch_size

    @torch.no_grad()
    def score(self, images: Sequence[Pixels]) -> list[Scores | BadScore]:
        """N images uint8 [H, W, 3] => N results, in order."""
        size_px, device = self._classifier.size_px, self._classifier.mean.device
        scores: list[Scores | BadScore] = []
        for first in range(0, len(images), self._batch_size):
            chunk = images[first : first + self._batch_size]
            batch = torch.zeros(self._batch_size, 3, size_px, size_px)
            for row, image in enumerate(chunk):
                batch[row] = resized(to_tensor(image), size_px)[0]
            rows = self._classifier.scores(batch.to(device))[: len(chunk), self._columns]
            scores += [self._read(row) for row in rows.double().tolist()]
        return scores

    def _read(self, row: list[float]) -> Scores | BadScore:
        if not all(map(math.isfinite, row)):
            return BadScore("the classifier's output is not finite")
        return dict(zip(self.names, row, strict=True))
