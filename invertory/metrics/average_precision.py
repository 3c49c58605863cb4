"""Average precision of scores: the area under the precision-recall curve.

Uses scikit-learn's definition, a sum of steps without interpolation, as for the attribute
classifiers of InvGAN (Ghosh et al. 2021, https://arxiv.org/abs/2112.04598, table 2) and of
Ramaswamy, Kim and Russakovsky 2021 (https://arxiv.org/abs/2012.01469). Random scores yield the
share of positives.
"""

from __future__ import annotations

import torch
from sklearn.metrics import average_precision_score
from torch import Tensor


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Scores and labels of 0 and 1, both [N, A] => AP [A] float64; NaN if a class is missing.

    Raises ValueError if shapes differ or scores are not finite.
    """
    if scores.ndim != 2 or scores.shape != labels.shape or not len(scores):
        raise ValueError(
            f"expected scores and labels of one shape [N, A], got {list(scores.shape)} and "
            f"{list(labels.shape)}"
        )
    if not torch.isfinite(scores).all():
        raise ValueError("expected finite scores, got NaN or infinity: leave rejected images out")
    is_true = labels.double().gt(0.5)
    columns = zip(is_true.cpu().numpy().T, scores.double().cpu().numpy().T, strict=True)
    values = [
        average_precision_score(truth, column) if 0 < truth.sum() < len(truth) else torch.nan
        for truth, column in columns
    ]
    return torch.tensor(values, dtype=torch.float64, device=scores.device)
