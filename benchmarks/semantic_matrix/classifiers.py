"""Attribute classifiers with equal budgets, and their average precision on other sources.

The paper trains a ResNet50 per attribute for 20 epochs. We train one small residual network for all
attributes (`invertory/networks/classifier.py`), with the same settings for every source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from invertory.metrics.average_precision import average_precision
from invertory.networks.classifier import AttributeClassifier
from invertory.portraits.attributes import DECIDED
from invertory.training.compute import Compute, TrainingImages, batch_rows
from invertory.training.optimiser import AveragedNetwork, seeded

if TYPE_CHECKING:
    import numpy.typing as npt

    from invertory.images import Pixels
    from invertory.portraits.dataset import PortraitSet

MIN_POSITIVE = 10  # test images with an attribute; the AP of rarer ones is noise
RESAMPLES = 200  # bootstrap resamples of the test images
BATCH = 256  # test images at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Settings that all classifiers share."""

    images: int = 18_000
    batch_size: int = 64
    learning_rate: float = 4e-3
    warm_up: float = 0.05
    weight_decay: float = 0.02
    half_life_images: float = 2_000
    stem: int = 12
    widths: tuple[int, ...] = (24, 48, 96, 128)


class Precision(NamedTuple):
    """Mean average precision over attributes, as in table 2, with its confidence interval."""

    mean: float
    std: float  # over attributes
    low: float  # ends of the 95 % interval over resampled test images
    high: float
    by_attribute: dict[str, float]


def attributes_of(people: PortraitSet) -> tuple[str, ...]:
    """Attributes that enough of the people have and enough lack."""
    counts = {name: float(people.column(name).sum()) for name in DECIDED}
    most = len(people) - MIN_POSITIVE
    return tuple(name for name, count in counts.items() if MIN_POSITIVE <= count <= most)


def truth(people: PortraitSet, names: tuple[str, ...]) -> Tensor:
    """[N, A] of 0 and 1."""
    columns = [torch.from_numpy(np.array(people.column(name))) for name in names]
    return torch.stack(columns, 1)


def trained(
    pictures: Pixels, labels: Tensor, names: tuple[str, ...], effort: Effort, compute: Compute, *,
    seed: int,
) -> AttributeClassifier:  # fmt: skip
    """Train a classifier: images uint8 [N, H, W, 3], labels [N, A] => its averaged weights.

    Images are mirrored with probability 1/2. The order of images and the initial weights depend on
    the seed only, so they are the same for every source.
    """

    def fresh() -> AttributeClassifier:
        size_px = pictures.shape[1]
        return AttributeClassifier(
            binary=names, size_px=size_px, stem=effort.stem, widths=effort.widths
        )

    supervised = AveragedNetwork(seeded(fresh, seed), effort, compute)
    rows_of, wanted = TrainingImages(pictures, compute), labels.to(compute.device)
    for step in range(effort.images // effort.batch_size):
        rows = batch_rows(len(pictures), effort.batch_size, seed=seed, step=step)
        x, rng = rows_of[rows], compute.rng(seed, step)
        is_mirrored = torch.rand(len(x), 1, 1, 1, generator=rng, device=x.device) < 0.5
        with compute.autocast():
            logits = supervised.network.raw(torch.where(is_mirrored, x.flip(3), x))
        supervised.descend(binary_cross_entropy_with_logits(logits, wanted[rows]), step)
    return supervised.average


@torch.no_grad()
def scores(classifier: AttributeClassifier, pictures: Pixels, compute: Compute) -> Tensor:
    """[N, A] logits, on the CPU."""
    rows = TrainingImages(pictures, compute)
    found = []
    for start in range(0, len(rows), BATCH):
        with compute.autocast():
            found.append(classifier.raw(rows[slice(start, start + BATCH)]).cpu())
    return torch.cat(found)


def precision(found: list[Tensor], labels: Tensor, names: tuple[str, ...]) -> Precision:
    """Scores [N, A] of each repeat, labels [N, A] => the precision averaged over repeats."""
    each = torch.stack([average_precision(one, labels) for one in found]).mean(0)
    low, high = np.percentile(_resampled(found, labels), (2.5, 97.5))
    by_name = dict(zip(names, each.tolist(), strict=True))
    return Precision(float(each.mean()), float(each.std()), float(low), float(high), by_name)


def difference(
    one: list[Tensor], other: list[Tensor], labels: Tensor
) -> tuple[float, float, float]:
    """The mAP of `one` less that of `other`, paired: (mean, ends of the 95 % interval)."""
    apart = _resampled(one, labels) - _resampled(other, labels)
    low, high = np.percentile(apart, (2.5, 97.5))
    means = [np.mean([float(average_precision(s, labels).mean()) for s in x]) for x in (one, other)]
    return float(means[0] - means[1]), float(low), float(high)


def _resampled(found: list[Tensor], labels: Tensor) -> npt.NDArray[np.float64]:
    """[RESAMPLES]: mAP of bootstrap resamples, the same rows in every call."""
    rng = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES):
        rows = torch.from_numpy(rng.integers(0, len(labels), len(labels)))
        each = [average_precision(one[rows], labels[rows]) for one in found]
        means.append(float(torch.stack(each).nanmean()))
    return np.array(means)
