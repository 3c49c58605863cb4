"""t: how far an edit moved the attribute that it aims at, and whether one method moves it further.

Grechka, Goudou and Cord, "MAGECally invert images for realistic editing", BMVC 2021,
https://hal.sorbonne-universite.fr/hal-03504190, section 4 and table 2. Score it with a classifier
that no loss of the inversion has seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor


class PairedTest(NamedTuple):
    """Of the differences a - b over the same edits."""

    mean: float
    t_statistic: float
    p_value: float  # two-sided
    n: int
    num_groups: int  # that are drawn independently; n where every row is


def improved_target(before: Tensor, after: Tensor, is_added: Tensor | bool = True) -> Tensor:
    """Probabilities [N] of the target attribute => [N] in [-1, 1]: what the edit gained.

    `is_added`: False where the edit takes the attribute away. A gain below 0 is an edit that went
    the other way.
    """
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(
            f"expected the probabilities [N] of the same images before and after, got "
            f"{list(before.shape)} and {list(after.shape)}"
        )
    gained = after - before
    return gained * (is_added * 2 - 1)


def paired_test(
    a: npt.ArrayLike, b: npt.ArrayLike, groups: npt.ArrayLike | None = None
) -> PairedTest:
    """Student's paired t-test of two methods' scores [N] on the same edits.

    Rows where either is not finite are left out. `groups` [N]: rows of one number belong together,
    as several edits of one image do, and are not independent. Then the variance of the mean is
    that of the groups' sums, with a degree of freedom less than there are groups (Liang and Zeger
    1986, https://doi.org/10.1093/biomet/73.1.13); with a row each it is Student's own.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    names = np.arange(len(x)) if groups is None else np.asarray(groups)
    if x.shape != y.shape or x.ndim != 1 or names.shape != x.shape:
        raise ValueError(
            f"expected scores [N] of the same edits, got {x.shape} and {y.shape}"
            + ("" if names.shape == x.shape else f", and groups {names.shape}")
        )
    is_finite = np.isfinite(x) & np.isfinite(y)
    difference = (x - y)[is_finite]
    num, group_index = np.unique(names[is_finite], return_inverse=True)
    n, num_groups = len(difference), len(num)
    if num_groups < 2:
        what = "pairs" if n == num_groups else "groups of pairs"
        raise ValueError(f"expected two {what} or more with both scores, got {num_groups}")
    mean = float(difference.mean())
    sums = np.bincount(group_index, difference - mean)
    variance = num_groups / (num_groups - 1) * float((sums**2).sum()) / n**2
    if difference.std() == 0 or variance == 0:  # all are equal: surely none, or surely one
        t = math.copysign(math.inf, mean) if mean else 0.0
        return PairedTest(mean, t, float(mean == 0), n, num_groups)
    t = mean / math.sqrt(variance)
    p_value = float(2 * stats.t.sf(abs(t), num_groups - 1))
    return PairedTest(mean, t, p_value, n, num_groups)
