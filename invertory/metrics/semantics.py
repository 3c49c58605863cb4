"""Whether inverted codes carry the semantics of their images: average precision of boundaries.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049,
section 3.2: an InterFaceGAN boundary classifies the inverted codes, and the precision-recall curve
measures the result. Here the truth is the known labels instead of a classifier's, and the curve is
summarised by its area, the average precision. It is low for codes that fit pixels by leaving the
domain.
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
    """Inverted codes [N, rows, w_dim], true labels [N] of 0 and 1 => average precision, 0 to 1.

    Two-fold cross-validation: a boundary is fitted on one half, stratified by class, and evaluated
    on the other; the result is the mean of both. NaN if a half has fewer than 5 rows of a class.
    Random codes yield the share of positives.
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
    """Average precision of a boundary fitted elsewhere; NaN if a class is missing."""
    if labels.min() == labels.max():
        return float("nan")
    distances = project(latents.cpu(), boundary.normal)  # the offset does not affect the ranking
    return float(average_precision_score(labels.cpu().numpy(), distances.numpy()))


def _halves(labels: Tensor, seed: int) -> Tensor | None:
    """Fold numbers [N] of 0 and 1, stratified by class; None if there are too few rows."""
    halves = torch.zeros(len(labels), dtype=torch.long)
    rng = torch.Generator().manual_seed(seed)
    for side in (labels > 0.5, labels <= 0.5):
        rows = side.nonzero().flatten().cpu()
        if len(rows) < FOLDS * MIN_CHOSEN:
            return None
        order = torch.randperm(len(rows), generator=rng)
        halves[rows[order[: len(rows) // 2]]] = 1
    return halves
