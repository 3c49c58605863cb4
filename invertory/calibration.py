"""Probabilities that mean what they say: temperature scaling and the calibration error.

Guo et al., "On Calibration of Modern Neural Networks", 2017, https://arxiv.org/abs/1706.04599, for
independent binary attributes: a temperature each (section 4.2), fitted on held-out logits.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SHARPEST, FLATTEST = 0.25, 8.0  # temperatures; where labels are separable the likeliest is 0
NUM_BINS = 15  # of the paper


@torch.no_grad()
def fit_temperature(logits: Tensor, labels: Tensor, *, iterations: int = 50) -> Tensor:
    """logits and labels (0 or 1), both [N, A] => [A]: logits / T have the least NLL.

    NLL is convex in 1 / T, so Newton's method with halved steps finds the only minimum.
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
        # at most a factor of two: far from the minimum the quadratic model overshoots
        updated = (inverse - slope / curvature).clamp(inverse / 2, inverse * 2)
        inverse = updated.clamp(1 / FLATTEST, 1 / SHARPEST)
    return inverse.reciprocal().to(logits.dtype)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Both [N, A] => [A], in nats."""
    return functional.binary_cross_entropy_with_logits(
        logits, labels.to(logits.dtype), reduction="none"
    ).mean(0)


def calibration_error(probabilities: Tensor, labels: Tensor) -> Tensor:
    """eq. 3, expected calibration error: both [N, A] => [A], 0 (calibrated) to 1.

    P(label is 1) in equal bins from 0 to 1: the mean over rows of |mean probability - share of
    ones| of their bin.
    """
    bins = (probabilities.double() * NUM_BINS).long().clamp(0, NUM_BINS - 1)
    excess = probabilities.double() - labels.double()
    sums = excess.new_zeros(NUM_BINS, excess.shape[1]).scatter_add_(0, bins, excess)
    return (sums.abs().sum(0) / len(labels)).to(probabilities.dtype)
