"""Calibrated probabilities: temperature scaling and the expected calibration error.

Guo et al., "On Calibration of Modern Neural Networks", 2017, https://arxiv.org/abs/1706.04599, for
independent binary attributes: one temperature per attribute (section 4.2), fitted on held-out
logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SHARPEST, FLATTEST = 0.25, 8.0  # range of T; separable labels would give T = 0
NUM_BINS = 15  # as in the paper


@torch.no_grad()
def fit_temperature(logits: Tensor, labels: Tensor, *, iterations: int = 50) -> Tensor:
    """Logits and labels (0 or 1), both [N, A] => temperatures T [A].

    T minimises the negative log likelihood of logits / T (section 4.2). The NLL is convex in 1 / T,
    so Newton's method with bounded steps finds the only minimum. Raises ValueError if shapes differ
    or are empty.
    """
    if logits.ndim != 2 or logits.shape != labels.shape or not len(logits):
        raise ValueError(
            f"expected logits and labels of one shape [N, A], got {list(logits.shape)} and "
            f"{list(labels.shape)}"
        )
    z, y = logits.double(), labels.double()
    inverse = z.new_ones(z.shape[1])
    for _ in range(iterations):
        p = (z * inverse).sigmoid()
        slope = ((p - y) * z).mean(0)
        curvature = (p * (1 - p) * z.square()).mean(0).clamp_min(1e-9)
        # limit each step to a factor of 2: far from the minimum the quadratic model overshoots
        updated = (inverse - slope / curvature).clamp(inverse / 2, inverse * 2)
        inverse = updated.clamp(1 / FLATTEST, 1 / SHARPEST)
    return inverse.reciprocal().to(logits.dtype)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits and labels, both [N, A] => mean NLL [A], in nats."""
    return functional.binary_cross_entropy_with_logits(
        logits, labels.to(logits.dtype), reduction="none"
    ).mean(0)


def calibration_error(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Expected calibration error (eq. 3): both [N, A] => [A], 0 (calibrated) to 1.

    P(label is 1) falls into equal bins from 0 to 1; the error is the mean over rows of |mean
    probability - share of ones| in their bin.
    """
    bins = (probabilities.double() * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    excess = probabilities.double() - labels.double()
    sums = excess.new_zeros(NUM_BINS, excess.shape[1]).scatter_add_(0, bins, excess)
    return (sums.abs().sum(0) / len(labels)).to(probabilities.dtype)
