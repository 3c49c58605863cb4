"""Quality of predicted attributes: confusion, accuracy, and accuracy on unambiguous images.

A binary attribute that thresholds a quantity cannot be predicted reliably near the threshold. A
value is ambiguous if it lies in a band around the threshold whose width is a tenth of the
quantity's range; the rule is the same for all attributes. Attributes without such a quantity have
no ambiguous images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from invertory.calibration import calibration_error, negative_log_likelihood

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BAND: Final = 0.1  # ambiguous share of the quantity's range
HEADLINES: Final = ("accuracy", "accuracy_unambiguous", "balanced_accuracy", "ece", "nll")


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts [A] of images per attribute."""

    tp: Tensor
    fp: Tensor
    tn: Tensor
    fn: Tensor

    @classmethod
    def of(cls, predicted: Tensor, labels: Tensor, counted: Tensor | None = None) -> Confusion:
        """Booleans [N, A]: predictions, true labels and, optionally, the entries to count."""
        predicted, labels = predicted.bool(), labels.bool()
        counts = torch.ones_like(predicted) if counted is None else counted

        def number(cells: Tensor) -> Tensor:
            return (cells & counts).sum(0)

        return cls(
            number(predicted & labels),
            number(predicted & ~labels),
            number(~predicted & ~labels),
            number(~predicted & labels),
        )

    @property
    def num(self) -> Tensor:
        return self.tp + self.fp + self.tn + self.fn

    @property
    def accuracy(self) -> Tensor:
        """[A]; NaN if nothing was counted."""
        return (self.tp + self.tn) / self.num

    @property
    def balanced_accuracy(self) -> Tensor:
        """[A]: the mean of true positive and true negative rate; NaN if a class is missing."""
        return (self.tp / (self.tp + self.fn) + self.tn / (self.tn + self.fp)) / 2


def roc_auc(scores: Tensor, labels: Tensor) -> Tensor:
    """Scores [N, A] and booleans [N, A] => the area under each ROC curve [A], 0 to 1.

    It is the probability that a positive scores above a negative, with ties counting half (Fawcett
    2006, "An introduction to ROC analysis", section 7); NaN if a class is missing.
    """
    areas = []
    for column, label in zip(scores.double().T, labels.bool().T, strict=True):
        have, lack = column[label].contiguous(), column[~label].sort().values
        below = torch.searchsorted(lack, have) + torch.searchsorted(lack, have, right=True)
        areas.append(below.double().mean() / (2 * len(lack)))  # 0 / 0: nan
    return torch.stack(areas)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A binary attribute that holds on one side of the value `at` of a quantity."""

    quantity: str
    at: float
    range: tuple[float, float]

    def is_ambiguous(self, values: Tensor) -> Tensor:
        low, high = self.range
        return (values - self.at).abs() < BAND / 2 * (high - low)


def unambiguous(
    values: Tensor,
    names: Sequence[str],
    binary: Sequence[str],
    thresholds: Mapping[str, Threshold],
) -> Tensor:
    """True attributes [N, len(names)] => bool [N, len(binary)], True if unambiguous."""
    clear = torch.ones(len(values), len(binary), dtype=torch.bool, device=values.device)
    for column, name in enumerate(binary):
        if name in thresholds:
            threshold = thresholds[name]
            quantity = values[:, list(names).index(threshold.quantity)]
            clear[:, column] = ~threshold.is_ambiguous(quantity)
    return clear


@torch.no_grad()
def report(
    outputs: Tensor,
    labels: Tensor,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    thresholds: Mapping[str, Threshold],
) -> dict[str, float]:
    """Outputs (logits, then values in their units) and true attributes, both [N, A] => measures.

    `names` are (binary, continuous). Each of HEADLINES is a mean over the binary attributes for
    which these images have both labels (num_attributes of them), since a constant attribute is
    trivial to predict. <measure>/<attribute> is the measure of one attribute, with the counts tp,
    fp, tn, fn; mae/<attribute> is the mean absolute error of a continuous one. Undefined measures
    are omitted.
    """
    binary, continuous = names
    logits, values = torch.split(outputs.double(), [len(binary), len(continuous)], 1)
    truth, quantities = torch.split(labels.double(), [len(binary), len(continuous)], 1)
    clear = unambiguous(labels, binary + continuous, binary, thresholds)
    confusion, clear_confusion = (
        Confusion.of(logits > 0, truth),
        Confusion.of(logits > 0, truth, clear),
    )
    columns = {
        "accuracy": confusion.accuracy,
        "accuracy_unambiguous": clear_confusion.accuracy,
        "balanced_accuracy": confusion.balanced_accuracy,
        "ece": calibration_error(logits.sigmoid(), truth),
        "nll": negative_log_likelihood(logits, truth),
    }
    varies = confusion.balanced_accuracy.isfinite()
    measures = {name: float(column[varies].nanmean()) for name, column in columns.items()}
    measures["num_attributes"] = float(varies.sum())
    columns |= {key: getattr(confusion, key) for key in ("tp", "fp", "tn", "fn")}
    columns["num_unambiguous"] = clear_confusion.num
    for measure, column in columns.items():
        measures |= _by_name(measure, binary, column)
    return measures | _by_name("mae", continuous, (values - quantities).abs().mean(0))


def _by_name(measure: str, names: Sequence[str], column: Tensor) -> dict[str, float]:
    pairs = zip(names, column.tolist(), strict=True)
    return {f"{measure}/{name}": float(value) for name, value in pairs if math.isfinite(value)}
