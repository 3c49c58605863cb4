"""A measure over images with its n and spread.

Intervals are Efron's percentile bootstrap of the mean (1979,
https://doi.org/10.1214/aos/1176344552).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

RESAMPLES = 2000


class Spread(NamedTuple):
    """Statistics of the finite values; without any, all fields but n are NaN."""

    n: int
    mean: float
    std: float  # with n - 1
    low: float  # ends of the 95 % interval of the mean
    high: float


def spread_of(values: npt.ArrayLike, *, seed: int = 0) -> Spread:
    """Values [N] => `Spread`; non-finite values (rejected images) are excluded."""
    x = np.asarray(values, dtype=np.float64).ravel()
    x = x[np.isfinite(x)]
    if not len(x):
        return Spread(0, *[float("nan")] * 4)
    std = float(x.std(ddof=1)) if len(x) > 1 else float("nan")
    rows = np.random.default_rng(seed).integers(0, len(x), (RESAMPLES, len(x)))
    low, high = np.percentile(x[rows].mean(1), (2.5, 97.5))
    return Spread(len(x), float(x.mean()), std, float(low), float(high))
