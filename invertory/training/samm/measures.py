"""Quality of SAMM's inversions: images against real ones, masks against foreign objects."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from invertory.metrics.ood_masks import mask_iou, ood_area, pooled_iou, soft_iou
from invertory.metrics.pixel import psnr_db


def measure(real: Tensor, results: Mapping[str, Tensor], truth: Tensor) -> dict[str, float]:
    """real [N, 3, R, R], results by name, truth bool [N, 1, R, R] => means over images."""
    keys = {"plain_psnr_db": "plain", "aligned_psnr_db": "aligned", "psnr_db": "blended"}
    metrics = {
        key: float(psnr_db(results[name].clamp(-1, 1), real).mean()) for key, name in keys.items()
    }
    mask = results["mask"]
    metrics["ood_area"] = float(ood_area(mask).mean())
    if truth.any():
        metrics["true_area"] = float(truth.double().mean())
        metrics["iou"] = float(mask_iou(mask, truth.float()).nanmean())
        metrics["soft_iou"] = float(soft_iou(mask, truth.float()).nanmean())
        metrics["pooled_iou"] = pooled_iou(mask, truth.float())
    return metrics
