"""How near an edit is to the image that it should have given, where that image is known.

Ours; no network takes part. The drawn portraits know what a person looks like with one attribute
changed, so an edit of the inversion of x is compared with the true image of the change.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invertory.metrics.pixel import mse


class Counterfactual(NamedTuple):
    """Per image, [N]."""

    error: Tensor  # MSE of the edit from the true image of the change
    idle_error: Tensor  # the same of the inversion itself: what doing nothing gives
    gain: Tensor  # idle_error - error, positive where the edit was worth making
    cosine: Tensor  # between the change made and the true one; -1 to 1, NaN where nothing changed


def compare_edit(
    inverted: Tensor, edited: Tensor, image: Tensor, changed: Tensor
) -> Counterfactual:
    """All [N, 3, H, W] in [-1, 1]: the inversion of `image`, its edit, and the true change.

    The cosine does not see what the inversion lost, only whether the right pixels moved the right
    way; the errors see both.
    """
    error, idle_error = mse(edited, changed), mse(inverted, changed)
    actual_change = (edited.double() - inverted.double()).flatten(1)
    true_change = (changed.double() - image.double()).flatten(1)
    cosine = (actual_change * true_change).sum(1) / (
        actual_change.norm(dim=1) * true_change.norm(dim=1)
    )  # 0 / 0: NaN
    return Counterfactual(error, idle_error, idle_error - error, cosine.float())


def relative_gain(comparison: Counterfactual) -> Tensor:
    """[N]: share of the idle error that the edit took away, 1 at best; below 0 it added to it."""
    return torch.nan_to_num(comparison.gain / comparison.idle_error, nan=0.0)
