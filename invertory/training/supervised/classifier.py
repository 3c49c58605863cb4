"""Trains the attribute classifier on portraits, whose labels are exact.

Losses are binary cross-entropy for the binary attributes and smooth L1 of standardised values for
the continuous ones; the optimiser is AdamW (Loshchilov & Hutter 2019,
https://arxiv.org/abs/1711.05101) with a cosine schedule and an average of the weights. Each
evaluation fits the temperatures on rows that are used neither for training nor for tests.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from invertory.calibration import fit_temperature, negative_log_likelihood
from invertory.metrics.attributes import HEADLINES, Threshold, report
from invertory.networks.classifier import AttributeClassifier
from invertory.portraits.attributes import (
    ATTRIBUTES,
    BINARY,
    CONTINUOUS,
    LIGHT_SKIN_MONK,
    MOUTH_OPEN_FROM,
    OLD_YEARS,
    SMILE_FROM,
)
from invertory.portraits.counterfactual import RANGES
from invertory.training.data.portrait_augmentation import Augmentation
from invertory.training.supervised.labelled import LabelledTraining

THRESHOLDS: Final = {
    name: Threshold(quantity, at, RANGES[quantity])
    for name, quantity, at in (
        ("old", "age_years", OLD_YEARS),
        ("light_skin", "skin_monk", LIGHT_SKIN_MONK),
        ("smile", "smile_amount", SMILE_FROM),
        ("mouth_open", "mouth_open_amount", MOUTH_OPEN_FROM),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierSettings:
    """Settings of a training."""

    images: int = 150_000  # images over which the learning rate decays to 0
    batch_size: int = 64
    learning_rate: float = 4e-3
    warm_up: float = 0.03  # share of `images` over which the rate increases
    weight_decay: float = 0.02
    regression: float = 0.5  # weight of the continuous attributes
    half_life_images: float = 3_000  # half-life of the average of weights
    stem: int = 16
    widths: tuple[int, ...] = (32, 64, 128, 192)
    shares: tuple[float, ...] = (0.7, 0.3)  # shares of the sets in a batch
    held_out: int = 2_000  # rows of each set for calibration, and again for tests
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0


class ClassifierTraining(LabelledTraining[AttributeClassifier, ClassifierSettings]):
    """`Training` of an `AttributeClassifier`; see `LabelledTraining`."""

    name = "attribute_classifier"

    def _build_network(self) -> AttributeClassifier:
        """An untrained network; its continuous attributes are standardised over held-out rows."""
        network = AttributeClassifier(
            binary=BINARY,
            continuous=CONTINUOUS,
            size_px=self.mix.size_px,
            stem=self.config.stem,
            widths=self.config.widths,
        )
        calibration = [self.mix.held("calibration", name) for name in self.mix.names]
        labels = torch.cat([self.mix.labels(rows, "attributes") for rows in calibration]).cpu()
        network.mean.copy_(labels[:, len(BINARY) :].mean(0))
        network.spread.copy_(labels[:, len(BINARY) :].std(0).clamp_min(1e-3))
        return network

    def step(self, step: int) -> dict[str, Tensor]:
        """Train on one batch; losses are means over images and attributes."""
        settings = self.config
        rows, rng = self._draw_batch(step)
        changes = settings.augmentation.draw(self.batch_size, rng)
        images = changes.images(self.mix.images(rows), rng)
        labels = changes.attributes(self.mix.labels(rows, "attributes"), ATTRIBUTES)
        with self._compute.autocast():
            raw = self._supervised.network.raw(images)
        losses = self._losses(raw, labels)
        self._supervised.descend(losses["loss"], step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _losses(self, raw: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits, values = torch.split(raw, [len(BINARY), len(CONTINUOUS)], 1)
        binary, continuous = torch.split(labels, [len(BINARY), len(CONTINUOUS)], 1)
        cross_entropy = functional.binary_cross_entropy_with_logits(logits, binary)
        network = self._supervised.network
        standard = (continuous - network.mean) / network.spread
        regression = functional.smooth_l1_loss(values, standard)
        loss = cross_entropy + self.config.regression * regression
        return {"loss": loss, "cross_entropy": cross_entropy, "regression": regression}

    def evaluate(self) -> dict[str, float]:
        """Fit the temperatures of the average, then measure it on the test rows of all sets.

        Names are as in `invertory.metrics.attributes.report` for all sets together, and
        <set>/<name> for the headlines of each set.
        """
        calibration = [self._held_out_outputs("calibration", name) for name in self.mix.names]
        raw, labels = torch.cat([r for r, _ in calibration]), torch.cat([t for _, t in calibration])
        num = len(BINARY)
        self.average.temperature.copy_(fit_temperature(raw[:, :num], labels[:, :num]))
        tested = {name: self._held_out_outputs("test", name) for name in self.mix.names}
        raw = torch.cat([r for r, _ in tested.values()])
        labels = torch.cat([t for _, t in tested.values()])
        metrics = self._report(raw, labels)
        before = negative_log_likelihood(raw[:, :num], labels[:, :num])
        metrics["nll_uncalibrated"] = float(before.mean())
        for name, (own_raw, own_labels) in tested.items():
            own = self._report(own_raw, own_labels)
            metrics |= {f"{name}/{key}": own[key] for key in HEADLINES}
        return metrics

    def _report(self, raw: Tensor, labels: Tensor) -> dict[str, float]:
        outputs = self.average.calibrated(raw)
        return report(outputs, labels, (BINARY, CONTINUOUS), THRESHOLDS)

    @torch.no_grad()
    def _held_out_outputs(self, part: Any, name: str) -> tuple[Tensor, Tensor]:
        """(raw outputs of the average, true attributes), both [held_out, A]."""
        (rows,) = self.mix.held(part, name).values()
        with self._compute.autocast():
            raw = [
                self.average.raw(self.mix.images({name: chunk})) for chunk in torch.split(rows, 256)
            ]
        return torch.cat(raw), self.mix.labels({name: rows}, "attributes")

    def networks(self) -> dict[str, nn.Module]:
        return {"classifier": self.average}
