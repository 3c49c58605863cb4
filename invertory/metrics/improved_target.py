"""t: how far an edit moved its target attribute, and a paired test between two methods.

Grechka, Goudou and Cord, "MAGECally invert images for realistic editing", BMVC 2021,
https://hal.sorbonne-universite.fr/hal-03504190, section 4 and table 2. Use a classifier that no
loss of the inversion has used.
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
    """Test of the differences a - b over the same edits."""

    mean: float
    t_statistic: float
    p_value: float  # two-sided
    n: int
    num_groups: int  # number of independent groups; n without groups


def improved_target(before: Tensor, after: Tensor, is_added: Tensor | bool = True) -> Tensor:
    """Probabilities [N] of the target attribute => its change in the edit's direction, [N] in [-1,
    1].

    `is_added` is False for edits that remove the attribute. Negative values are edits that moved it
    the wrong way.
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

    Rows with a non-finite score are dropped. `groups` [N]: rows with equal numbers, such as several
    edits of one image, are not independent. The variance of the mean is then that of the group
    sums, with one degree of freedom fewer than there are groups (Liang and Zeger 1986,
    https://doi.org/10.1093/biomet/73.1.13); with one row per group this is Student's test. Raises
    ValueError for fewer than two pairs or groups.
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
    if difference.std() == 0 or variance == 0:  # all differences are equal: p is 1 or 0
        t = math.copysign(math.inf, mean) if mean else 0.0
        return PairedTest(mean, t, float(mean == 0), n, num_groups)
    t = mean / math.sqrt(variance)
    p_value = float(2 * stats.t.sf(abs(t), num_groups - 1))
    return PairedTest(mean, t, p_value, n, num_groups)
