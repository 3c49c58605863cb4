"""Average precision of scores: the area under precision over recall, as a sum of steps.

AP = sum_n (R_n - R_{n-1}) P_n over the thresholds between distinct scores, without interpolation:
the definition of scikit-learn, and that by which attribute classifiers are judged (InvGAN, Ghosh et
al. 2021, https://arxiv.org/abs/2112.04598, table 2; Ramaswamy, Kim and Russakovsky 2021,
https://arxiv.org/abs/2012.01469). The share of positives is what chance gives.
"""

from __future__ import annotations

import torch
from torch import Tensor


def average_precision(scores: Tensor, labels: Tensor) -> Tensor:
    """Scores and labels of 0 and 1, both [N, A] => AP [A] float64; NaN without both classes.

    Pictures of equal score are told together, so that their order does not matter.
    """
    if scores.ndim != 2 or scores.shape != labels.shape or not len(scores):
        raise ValueError(
            f"expected scores and labels of one shape [N, A], got {list(scores.shape)} and "
            f"{list(labels.shape)}"
        )
    if not torch.isfinite(scores).all():
        raise ValueError("expected finite scores, got others: leave rejected pictures out")
    ranked, order = scores.double().sort(0, descending=True)
    is_true = labels.double().gt(0.5).gather(0, order).double()
    found = is_true.cumsum(0)  # true positives down to each rank
    precision = found / torch.arange(1, len(scores) + 1, device=scores.device)[:, None]
    is_last = torch.ones_like(ranked, dtype=torch.bool)  # of its equals
    is_last[:-1] = ranked[:-1] != ranked[1:]
    # at each threshold the precision counts for the positives since the one before
    counted = torch.where(is_last, found, 0).cummax(0).values
    gained = counted.diff(dim=0, prepend=counted.new_zeros(1, counted.shape[1]))
    area = (gained * precision).sum(0) / found[-1]
    has_both = (found[-1] > 0) & (found[-1] < len(scores))
    return torch.where(has_both, area, torch.nan)
