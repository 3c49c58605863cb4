"""Predicted out-of-domain masks: their area, and their agreement with true masks.

The average out-of-domain area is that of SAMM (Yang et al. 2023, https://arxiv.org/abs/2212.09262,
table 3), the mean intensity of its masks. Intersection over union: Everingham et al. 2015,
https://doi.org/10.1007/s11263-014-0733-5; the soft form replaces intersection and union by minima
and maxima (Ruzicka 1958), so that masks need no threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class MeanAndCount(NamedTuple):
    """The mean over the images that show a kind of object, and the number of these images."""

    mean: float  # NaN without such images
    num: int


def ood_area(mask: Tensor) -> Tensor:
    """Mask [N, 1, H, W] in [0, 1] => its mean [N], the share of the image."""
    return _checked(mask).mean((1, 2, 3))


def soft_iou(mask: Tensor, truth: Tensor) -> Tensor:
    """Mask in [0, 1], truth 0 or 1, both [N, 1, H, W] => IoU [N]; NaN if both are empty.

    IoU = sum min(m, t) / sum max(m, t).
    """
    predicted, true_mask = _pair(mask, truth)
    return torch.minimum(predicted, true_mask).sum((1, 2, 3)) / torch.maximum(
        predicted, true_mask
    ).sum((1, 2, 3))


def mask_iou(mask: Tensor, truth: Tensor, threshold: float = 0.5) -> Tensor:
    """`soft_iou` of the mask thresholded at `threshold`."""
    predicted, true_mask = _pair(mask, truth)
    return soft_iou((predicted > threshold).double(), true_mask)


def pooled_iou(mask: Tensor, truth: Tensor, threshold: float = 0.5) -> float:
    """IoU counted over all pixels of all images, as is usual for segmentations."""
    predicted, true_mask = _pair(mask, truth)
    predicted = (predicted > threshold).double()
    union = torch.maximum(predicted, true_mask).sum()
    return float(torch.minimum(predicted, true_mask).sum() / union) if union else float("nan")


def chance_iou(area: float, true_area: float) -> float:
    """Expected IoU of random pixels: p q / (p + q - p q) for areas p and q."""
    both = area * true_area
    union = area + true_area - both
    return both / union if union else float("nan")


def by_kind(values: Tensor, is_shown: Mapping[str, Tensor]) -> dict[str, MeanAndCount]:
    """Values [N] and, per kind of object, whether each image shows it [N] => means per kind.

    NaN values are excluded.
    """
    means = {}
    for kind, shown in is_shown.items():
        if shown.shape != values.shape:
            raise ValueError(
                f"expected for {kind!r} one truth for each of {len(values)} values, got "
                f"{list(shown.shape)}"
            )
        selected = values[shown.bool() & ~values.isnan()]
        means[kind] = MeanAndCount(float(selected.mean()), len(selected))
    return means


def _pair(mask: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    if mask.shape != truth.shape:
        raise ValueError(
            f"expected a mask and a truth of one shape, got {list(mask.shape)} and "
            f"{list(truth.shape)}: resize the mask to the truth"
        )
    return _checked(mask), _checked(truth.to(mask.device))


def _checked(mask: Tensor) -> Tensor:
    """Validate a mask; return it as float64."""
    if mask.dim() != 4 or mask.shape[1] != 1 or not len(mask):
        raise ValueError(
            f"expected masks [N, 1, H, W] of at least one image, got {list(mask.shape)}"
        )
    wide = mask.double()
    if not bool(((wide >= 0) & (wide <= 1)).all()):
        raise ValueError("expected masks from 0 to 1, got values outside: scale them")
    return wide
