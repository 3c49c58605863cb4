"""How much a method calls out of domain, and how well that is what truly is.

The average out-of-domain area is that of SAMM (Yang et al. 2023, https://arxiv.org/abs/2212.09262,
table 3): the mean intensity of its masks. Intersection over union: Everingham et al. 2015,
https://doi.org/10.1007/s11263-014-0733-5; the soft form has minima and maxima for the two (Ruzicka
1958), so that a mask need not be cut at a threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor


class MeanAndCount(NamedTuple):
    """A mean over the images that show something, and how many these are."""

    mean: float  # nan where there are none
    num: int


def ood_area(mask: Tensor) -> Tensor:
    """mask [N, 1, H, W] in [0, 1] => its mean [N]: the share of the image."""
    return _checked(mask).mean((1, 2, 3))


def soft_iou(mask: Tensor, truth: Tensor) -> Tensor:
    """mask in [0, 1], truth 0 or 1, both [N, 1, H, W] => [N]; nan where both are empty."""
    predicted, true_mask = _pair(mask, truth)
    return torch.minimum(predicted, true_mask).sum((1, 2, 3)) / torch.maximum(
        predicted, true_mask
    ).sum((1, 2, 3))


def mask_iou(mask: Tensor, truth: Tensor, threshold: float = 0.5) -> Tensor:
    """The same of the pixels whose mask is above `threshold`."""
    predicted, true_mask = _pair(mask, truth)
    return soft_iou((predicted > threshold).double(), true_mask)


def pooled_iou(mask: Tensor, truth: Tensor, threshold: float = 0.5) -> float:
    """Counted over all pixels of all images, then divided, as for segmentations."""
    predicted, true_mask = _pair(mask, truth)
    predicted = (predicted > threshold).double()
    union = torch.maximum(predicted, true_mask).sum()
    return float(torch.minimum(predicted, true_mask).sum() / union) if union else float("nan")


def chance_iou(area: float, true_area: float) -> float:
    """What pixels thrown at random come to: with areas p and q, p q / (p + q - p q)."""
    both = area * true_area
    union = area + true_area - both
    return both / union if union else float("nan")


def by_kind(values: Tensor, is_shown: Mapping[str, Tensor]) -> dict[str, MeanAndCount]:
    """values [N], and for each kind of object which images show it [N] => its mean.

    Values that are nan are left out.
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
    """Float64."""
    if mask.dim() != 4 or mask.shape[1] != 1 or not len(mask):
        raise ValueError(f"expected masks [N, 1, H, W] of an image or more, got {list(mask.shape)}")
    wide = mask.double()
    if not bool(((wide >= 0) & (wide <= 1)).all()):
        raise ValueError("expected masks from 0 to 1, got other values: scale them")
    return wide
