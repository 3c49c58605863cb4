"""Whether inverted codes carry the meaning of their images: precision and recall of boundaries.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049,
section 3.2: an InterFaceGAN boundary takes the inverted codes for its classes, and the curve of
precision over recall says how well. Here the labels are the truth, not a classifier's, and the
curve is told by its area, average precision. A code that fits pixels by leaving the domain has it
low.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sklearn.metrics import average_precision_score

from invertory.boundaries import MIN_CHOSEN, Boundary, fit_boundary, project

if TYPE_CHECKING:
    from torch import Tensor

FOLDS = 2


def average_precision(latents: Tensor, labels: Tensor, *, seed: int = 0) -> float:
    """Inverted codes [N, rows, w_dim], true labels [N] of 0 and 1 => the area under the curve.

    A boundary is fitted on one half, which has half of either class, and judged on the other, then
    the other way round; the mean of both. NaN where a half has fewer than 5 of a class. The share
    of the positive class is what chance gives.
    """
    halves = _halves(labels, seed)
    if halves is None:
        return float("nan")
    values = []
    for fold in range(FOLDS):
        train, test = halves == fold, halves != fold
        boundary = fit_boundary(
            latents[train],
            labels[train].float(),
            selection="threshold",
            threshold=0.5,
            split=1.0,
            solver="logistic",
        )
        values.append(boundary_average_precision(boundary, latents[test], labels[test]))
    return sum(values) / FOLDS


def boundary_average_precision(boundary: Boundary, latents: Tensor, labels: Tensor) -> float:
    """Average precision of a boundary that was fitted elsewhere; NaN without both classes."""
    if labels.min() == labels.max():
        return float("nan")
    distances = project(latents.cpu(), boundary.normal)  # an offset changes no order
    return float(average_precision_score(labels.cpu().numpy(), distances.numpy()))


def _halves(labels: Tensor, seed: int) -> Tensor | None:
    """[N] of 0 and 1, each class split evenly."""
    halves = torch.zeros(len(labels), dtype=torch.long)
    rng = torch.Generator().manual_seed(seed)
    for side in (labels > 0.5, labels <= 0.5):
        rows = side.nonzero().flatten().cpu()
        if len(rows) < FOLDS * MIN_CHOSEN:
            return None
        order = torch.randperm(len(rows), generator=rng)
        halves[rows[order[: len(rows) // 2]]] = 1
    return halves
