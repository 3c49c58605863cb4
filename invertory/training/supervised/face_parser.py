"""Trains the face parser on portraits, whose segmentations are exact.

Cross-entropy plus the soft Dice loss (Milletari et al., "V-Net", 2016,
https://arxiv.org/abs/1606.04797, section 3, with sums over the batch): eyes and mouth cover a
hundredth of the pixels, and Dice weighs all segments equally. AdamW with a cosine schedule and an
average of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.metrics.segments import count_confusion, intersection_over_union
from invertory.networks.face_parser import FaceParser
from invertory.portraits.attributes import SEGMENTS
from invertory.training.data.portrait_augmentation import Augmentation
from invertory.training.supervised.labelled import LabelledTraining

COLOURS: Final = (  # colours of the segments on sheets, RGB in [-1, 1]
    (-0.6, -0.6, -0.6),
    (0.8, 0.4, 0.1),
    (-0.1, -0.5, -0.8),
    (0.2, 0.8, 1.0),
    (1.0, -0.6, -0.4),
    (-0.7, 0.0, 0.4),
    (1.0, 1.0, -0.4),
    (0.6, -0.8, 0.9),
)
SHEET_COLUMNS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class ParserSettings:
    """Settings of a training."""

    images: int = 60_000  # images over which the learning rate decays to 0
    batch_size: int = 32
    learning_rate: float = 4e-3
    warm_up: float = 0.03  # share of `images` over which the rate increases
    weight_decay: float = 0.02
    dice: float = 0.5  # weight of the Dice loss
    half_life_images: float = 1_500  # half-life of the average of weights
    widths: tuple[int, ...] = (32, 64, 96, 128)
    shares: tuple[float, ...] = (0.6, 0.4)  # shares of the sets in a batch
    held_out: int = 1_000  # rows of each set, twice; the second half is for tests
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0


class ParserTraining(LabelledTraining[FaceParser, ParserSettings]):
    """`Training` of a `FaceParser`; see `LabelledTraining`."""

    name = "face_parser"

    def _build_network(self) -> FaceParser:
        sizes = {"size_px": self.mix.size_px, "widths": self.config.widths}
        return FaceParser(segments=SEGMENTS, **sizes)

    def step(self, step: int) -> dict[str, Tensor]:
        """Train on one batch."""
        settings = self.config
        rows, rng = self._draw_batch(step)
        changes = settings.augmentation.draw(self.batch_size, rng)
        images = changes.images(self.mix.images(rows), rng)
        labels = changes.segmentations(self.mix.labels(rows, "segmentations"))
        with self._compute.autocast():
            logits = self._supervised.network(images)
        cross_entropy = functional.cross_entropy(logits, labels)
        dice = dice_loss(logits, labels)
        loss = cross_entropy + settings.dice * dice
        self._supervised.descend(loss, step)
        losses = {"loss": loss, "cross_entropy": cross_entropy, "dice": dice}
        return {name: value.detach() for name, value in losses.items()}

    def evaluate(self) -> dict[str, float]:
        """miou, pixel_accuracy and iou/<segment> on the test rows of all sets together.

        The same measures of each set are named <set>/<name>.
        """
        counts = {name: self._confusion(name) for name in self.mix.names}
        metrics = measure(torch.stack(list(counts.values())).sum(0))
        for name, own in counts.items():
            metrics |= {f"{name}/{key}": value for key, value in measure(own).items()}
        return metrics

    @torch.no_grad()
    def _confusion(self, name: str) -> Tensor:
        """Counts [S, S] over the test rows of one set."""
        num = len(SEGMENTS)
        total = torch.zeros(num, num, dtype=torch.long, device=self._compute.device)
        (rows,) = self.mix.held("test", name).values()
        for chunk in torch.split(rows, 128):
            labels = self.mix.labels({name: chunk}, "segmentations")
            total += count_confusion(self._segment({name: chunk}), labels, num)
        return total

    @torch.no_grad()
    def _segment(self, rows: dict[str, Tensor]) -> Tensor:
        with self._compute.autocast():
            return self.average.segment(self.mix.images(rows))

    def sheet(self) -> Tensor | None:
        """Rows of held-out images, their true segments, and the predicted segments."""
        last = self.mix.names[-1]
        (rows,) = self.mix.held("test", last).values()
        chunk = {last: rows[:SHEET_COLUMNS]}
        colours = torch.tensor(COLOURS, device=self._compute.device)
        painted = [
            colours[labels.long()].permute(0, 3, 1, 2)
            for labels in (self.mix.labels(chunk, "segmentations"), self._segment(chunk))
        ]
        strips = [torch.cat(list(strip), 2) for strip in (self.mix.images(chunk), *painted)]
        return torch.cat(strips, 1)

    def networks(self) -> dict[str, nn.Module]:
        return {"parser": self.average}


def dice_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """logits [N, S, H, W], indices [N, H, W] => 0 (perfect) to 1, the mean over segments.

    1 - 2 sum(p g) / (sum(p^2) + sum(g^2)), with sums over all pixels of the batch.
    """
    p = logits.softmax(1)
    g = functional.one_hot(labels, logits.shape[1]).movedim(-1, 1).to(p.dtype)
    both = (p * g).sum((0, 2, 3))
    sizes = p.square().sum((0, 2, 3)) + g.sum((0, 2, 3))
    # +1 pixel: a segment that is neither present nor predicted costs nothing
    return 1 - ((2 * both + 1) / (sizes + 1)).mean()


def measure(confusion: Tensor) -> dict[str, float]:
    """Counts [S, S] => miou, pixel_accuracy, iou/<segment>.

    Segments that are absent are excluded from the mean, even if some pixels are predicted as such:
    these pixels lower the IoU of other segments.
    """
    each = intersection_over_union(confusion)
    present = confusion.sum(1) > 0
    metrics = {
        "miou": float(each[present].mean()),
        "pixel_accuracy": float(confusion.diagonal().sum() / confusion.sum()),
    }
    pairs = zip(SEGMENTS, each.tolist(), present.tolist(), strict=True)
    return metrics | {f"iou/{name}": value for name, value, is_there in pairs if is_there}
