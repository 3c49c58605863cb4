"""Trains the landmark regressor on portraits with larger displacements than crops have.

L1 distance of normalised coordinates; AdamW with a cosine schedule and an average of the weights.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.networks.landmark_regressor import LandmarkRegressor
from invertory.training.data.portrait_augmentation import Augmentation
from invertory.training.supervised.labelled import LabelledTraining

MOVED_ABOUT: Final = Augmentation(
    moved=0.9, shift=0.16, turn_deg=20.0, scale=0.4, colour=0.06, padding="border"
)
_MOVED = 2  # random stream for augmented held-out rows


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressorSettings:
    """Settings of a training."""

    images: int = 80_000  # images over which the learning rate decays to 0
    batch_size: int = 64
    learning_rate: float = 3e-3
    warm_up: float = 0.03  # share of `images` over which the rate increases
    weight_decay: float = 0.02
    half_life_images: float = 3_000  # half-life of the average of weights
    widths: tuple[int, ...] = (32, 64, 96, 128)
    shares: tuple[float, ...] = (0.6, 0.4)  # shares of the sets in a batch
    held_out: int = 1_000  # rows of each set, twice; the second half is for tests
    augmentation: Augmentation = field(default_factory=lambda: MOVED_ABOUT)
    seed: int = 0


class RegressorTraining(LabelledTraining[LandmarkRegressor, RegressorSettings]):
    """`Training` of a `LandmarkRegressor`; see `LabelledTraining`."""

    name = "landmark_regressor"

    def _build_network(self) -> LandmarkRegressor:
        """An untrained network, which predicts the mean shape of held-out rows for every image."""
        network = LandmarkRegressor(size_px=self.mix.size_px, widths=self.config.widths)
        nn.init.zeros_(network.head.weight)
        nn.init.zeros_(network.head.bias)
        calibration = [self.mix.held("calibration", name) for name in self.mix.names]
        points = torch.cat([self.mix.labels(rows, "landmarks") for rows in calibration]).cpu()
        network.mean_shape.copy_((points.mean(0) + 0.5) / self.mix.size_px)
        return network

    def step(self, step: int) -> dict[str, Tensor]:
        """Train on one batch."""
        rows, rng = self._draw_batch(step)
        images, points = self._moved(rows, rng)
        with self._compute.autocast():
            predicted = self._supervised.network.normalised_points(images)
        loss = functional.l1_loss(predicted, (points + 0.5) / self.mix.size_px)
        self._supervised.descend(loss, step)
        return {"loss": loss.detach()}

    def _moved(self, rows: dict[str, Tensor], rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Images and their points (px), both augmented."""
        num = sum(map(len, rows.values()))
        changes = self.config.augmentation.draw(num, rng)
        points = changes.landmarks(self.mix.labels(rows, "landmarks"), self.mix.size_px)
        return changes.images(self.mix.images(rows), rng), points

    def evaluate(self) -> dict[str, float]:
        """Normalised mean errors (nme) and failure rates on the test rows.

        nme is the mean distance to the true points in units of the distance between the outer eye
        corners (as in 300-W), over all sets; <set>/nme and <set>/nme_moved are those of one set
        without and with augmentation; failures is the share of images with an nme above 0.1.
        """
        metrics: dict[str, float] = {}
        plain = {name: self._errors(name, is_moved=False) for name in self.mix.names}
        moved = {name: self._errors(name, is_moved=True) for name in self.mix.names}
        for key, errors in (("nme", plain), ("nme_moved", moved)):
            metrics[key] = float(torch.cat(list(errors.values())).mean())
            metrics |= {f"{name}/{key}": float(values.mean()) for name, values in errors.items()}
        metrics["failures"] = float((torch.cat(list(plain.values())) > 0.1).float().mean())
        metrics["failures_moved"] = float((torch.cat(list(moved.values())) > 0.1).float().mean())
        return metrics

    @torch.no_grad()
    def _errors(self, name: str, *, is_moved: bool) -> Tensor:
        """[held_out]: nme of each test row of a set."""
        (rows,) = self.mix.held("test", name).values()
        errors = []
        for i, chunk in enumerate(torch.split(rows, 256)):
            rows_of_set = {name: chunk}
            images, points = self.mix.images(rows_of_set), self.mix.labels(rows_of_set, "landmarks")
            if is_moved:
                images, points = self._moved(rows_of_set, self._compute.rng(0, i, _MOVED))
            with self._compute.autocast():
                predicted = self.average(images)
            errors.append(normalised_error(predicted, points))
        return torch.cat(errors)

    def networks(self) -> dict[str, nn.Module]:
        return {"landmarks": self.average}


def normalised_error(predicted: Tensor, points: Tensor) -> Tensor:
    """Points of both [N, 68, 2] => nme [N], in units of the distance of the outer eye corners."""
    eye_to_eye = (points[:, 45] - points[:, 36]).norm(dim=1)
    out: Tensor = (predicted - points).norm(dim=2).mean(1) / eye_to_eye
    return out
