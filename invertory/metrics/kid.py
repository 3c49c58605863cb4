"""KID: the kernel distance between two sets of features; unbiased, so it suits small sets.

Binkowski et al., "Demystifying MMD GANs", 2018, https://arxiv.org/abs/1801.01401: the squared
maximum mean discrepancy with the cubic kernel, averaged over subsets. The estimate can be negative.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class KernelDistance(NamedTuple):
    """Statistics over subsets; `std` is between subsets, not the standard error of the mean."""

    mean: float
    std: float
    num_subsets: int
    subset_size: int


def kid(
    a: Tensor, b: Tensor, *, num_subsets: int = 100, subset_size: int = 1000, seed: int = 0
) -> KernelDistance:
    """Features a [N, d], b [M, d]. Subsets are at most as large as the smaller set.

    Raises ValueError for subsets of fewer than two rows.
    """
    size = min(subset_size, len(a), len(b))
    if size < 2 or num_subsets < 1:
        raise ValueError(
            f"expected two or more rows a subset and one subset or more, got {size} and "
            f"{num_subsets}"
        )
    rng = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(num_subsets):
        rows_a = torch.randperm(len(a), generator=rng)[:size].to(a.device)
        rows_b = torch.randperm(len(b), generator=rng)[:size].to(b.device)
        values.append(polynomial_mmd2(a[rows_a], b[rows_b]))
    estimates = torch.tensor(values, dtype=torch.float64)
    return KernelDistance(
        float(estimates.mean()), float(estimates.std(correction=0)), num_subsets, size
    )


def polynomial_mmd2(a: Tensor, b: Tensor) -> float:
    """Unbiased estimate of section 4 with k(x, y) = (x y / d + 1)^3; a [N, d], b [M, d]."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(
            "expected features [N, d] and [M, d] of two rows or more, got "
            f"{list(a.shape)} and {list(b.shape)}"
        )
    a, b = a.double(), b.double()
    return float(_mean_off_diagonal(a) + _mean_off_diagonal(b) - 2 * _kernel(a, b).mean())


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_off_diagonal(x: Tensor) -> Tensor:
    k = _kernel(x, x)
    return (k.sum() - k.diagonal().sum()) / (len(x) * (len(x) - 1))
