"""Distance of an edit from the true image of the same change, if that image is known.

This metric is our own and uses no network. The renderer of the portraits can draw a person with one
attribute changed, so an edit of the inversion of x is compared with the true counterfactual.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from invertory.metrics.pixel import mse


class Counterfactual(NamedTuple):
    """Values per image, [N]."""

    error: Tensor  # MSE between the edit and the true counterfactual
    idle_error: Tensor  # MSE between the unedited inversion and the counterfactual
    gain: Tensor  # idle_error - error; positive if the edit helped
    cosine: Tensor  # of the actual and the true change, -1 to 1; NaN if nothing changed


def compare_edit(
    inverted: Tensor, edited: Tensor, image: Tensor, changed: Tensor
) -> Counterfactual:
    """All [N, 3, H, W] in [-1, 1]: the inversion of `image`, its edit, and the true change.

    The cosine ignores what the inversion lost and measures only whether the right pixels changed in
    the right direction; the errors measure both.
    """
    error, idle_error = mse(edited, changed), mse(inverted, changed)
    actual_change = (edited.double() - inverted.double()).flatten(1)
    true_change = (changed.double() - image.double()).flatten(1)
    norms = actual_change.norm(dim=1) * true_change.norm(dim=1)
    cosine = (actual_change * true_change).sum(1) / norms  # 0 / 0: NaN
    return Counterfactual(error, idle_error, idle_error - error, cosine.float())


def relative_gain(comparison: Counterfactual) -> Tensor:
    """[N]: the share of the idle error that the edit removed, at most 1; negative if it added
    error.
    """
    return torch.nan_to_num(comparison.gain / comparison.idle_error, nan=0.0)
