"""Images with objects unknown to the generator: errors inside and outside of them, and masks.

The renderer provides the true masks. A method's mask is compared with two masks of the same area
that do not depend on the image: a random one and one in the middle.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.compare.results import Values
from invertory.metrics.ood_masks import chance_iou, mask_iou, ood_area, soft_iou

INSIDE, OUTSIDE = "PSNR inside objects (dB)", "PSNR outside objects (dB)"
INSIDE_MSE, OUTSIDE_MSE = "MSE inside objects", "MSE outside objects"
AREA, TRUE_AREA = "mask area", "area of objects"
IOU, SOFT_IOU = "mask IoU", "mask IoU, soft"
RANDOM_IOU, CENTRE_IOU = "IoU of a random mask", "IoU of a mask in the middle"
EDITED_INSIDE, RISE_INSIDE = "MSE inside objects, edited", "rise of the MSE inside objects"
CHANGE_INSIDE, CHANGE_OUTSIDE = "change inside objects", "change outside objects"
MASK = "mask"  # name of the map that locates objects
THRESHOLD = 0.5


def masked_mse(a: Tensor, b: Tensor, mask: Tensor) -> Values:
    """Images [N, 3, H, W], mask [N, 1, H, W] => MSE inside the mask [N]; NaN if it is empty."""
    squared = (a.double() - b.double()).square().mean(1, keepdim=True) * mask
    sums = squared.sum((1, 2, 3)) / mask.double().sum((1, 2, 3))
    values: Values = sums.numpy()
    return values


def errors(made: Tensor, targets: Tensor, objects: Tensor) -> dict[str, Values]:
    """Errors inside and outside; images [N, 3, H, W] in [-1, 1], objects [N, 1, H, W] 0 or 1."""
    inside = masked_mse(made, targets, objects)
    outside = masked_mse(made, targets, 1 - objects)
    with np.errstate(divide="ignore"):
        db = {INSIDE: 10 * np.log10(4 / inside), OUTSIDE: 10 * np.log10(4 / outside)}
    return {**db, INSIDE_MSE: inside, OUTSIDE_MSE: outside}


def masked(mask: Tensor, objects: Tensor) -> dict[str, Values]:
    """Measures of a mask [N, 1, h, w] in [0, 1] against the objects [N, 1, H, H], 0 or 1."""
    px = objects.shape[-1]
    mask = interpolate(mask, (px, px), mode="bilinear") if mask.shape[-1] != px else mask
    mask = mask.clamp(0, 1)
    predicted, true = (mask > THRESHOLD).double(), objects.double()
    shares = zip(ood_area(predicted).tolist(), ood_area(true).tolist(), strict=True)
    found = {
        AREA: ood_area(mask),
        TRUE_AREA: ood_area(true),
        IOU: mask_iou(mask, objects, THRESHOLD),
        SOFT_IOU: soft_iou(mask, objects),
        CENTRE_IOU: soft_iou(centred(predicted), true),
    }
    columns: dict[str, Values] = {name: v.double().numpy() for name, v in found.items()}
    return columns | {RANDOM_IOU: np.array([chance_iou(*pair) for pair in shares])}


def centred(mask: Tensor) -> Tensor:
    """mask [N, 1, H, W], 0 or 1 => a mask of the same area, the pixels nearest to the middle."""
    height, width = mask.shape[-2:]
    y = torch.arange(height, dtype=torch.float64)[:, None] - (height - 1) / 2
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    rank = (y.square() + x.square()).flatten().argsort(stable=True).argsort()
    return (rank < mask.flatten(1).sum(1, keepdim=True)).view_as(mask).to(mask)


def edited(before: Tensor, after: Tensor, targets: Tensor, objects: Tensor) -> dict[str, Values]:
    """Changes that an edit makes inside and outside of objects; images [N, 3, H, W].

    An edit of the face should not change the objects of the target.
    """
    unedited = masked_mse(before, targets, objects)
    inside = masked_mse(after, targets, objects)
    return {
        INSIDE_MSE: unedited,
        EDITED_INSIDE: inside,
        RISE_INSIDE: inside - unedited,
        CHANGE_INSIDE: masked_mse(after, before, objects),
        CHANGE_OUTSIDE: masked_mse(after, before, 1 - objects),
    }
