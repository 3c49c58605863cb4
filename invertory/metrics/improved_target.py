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


def improved_target(before: Tensor, after: Tensor, is_added: Tensor | bool = True) -> Tensor:
    """Probabilities [N] of the target attribute => [N] in [-1, 1]: what the edit gained.

    `is_added`: False where the edit takes the attribute away. A gain below 0 is an edit that went
    the other way.
    """
    if before.shape != after.shape or before.ndim != 1:
        raise ValueError(
            f"expected the probabilities [N] of the same pictures before and after, got "
            f"{list(before.shape)} and {list(after.shape)}"
        )
    gained = after - before
    return gained * (is_added * 2 - 1)


def paired_test(a: npt.ArrayLike, b: npt.ArrayLike) -> PairedTest:
    """Student's paired t-test of two methods' scores [N] on the same edits.

    Rows where either is not finite are left out.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"expected scores [N] of the same edits, got {x.shape} and {y.shape}")
    whole = np.isfinite(x) & np.isfinite(y)
    difference = (x - y)[whole]
    if len(difference) < 2:
        raise ValueError(f"expected two pairs or more with both scores, got {len(difference)}")
    n, mean, spread = len(difference), float(difference.mean()), float(difference.std(ddof=1))
    if spread == 0:  # all differences are equal: surely none, or surely one
        return PairedTest(mean, math.copysign(math.inf, mean) if mean else 0.0, float(mean == 0), n)
    t = mean / (spread / math.sqrt(n))
    return PairedTest(mean, t, float(2 * stats.t.sf(abs(t), n - 1)), n)
