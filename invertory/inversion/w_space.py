"""Statistics of a generator's w from draws: its mean, its deviation, and its Gaussian space.

P and P_N: Improved StyleGAN Embedding: Where are the Good Latents?, Zhu, Abdal, Qin, Femiani and
Wonka 2020, https://arxiv.org/abs/2012.09036. The mapping ends in a leaky ReLU of slope 0.2. A leaky
ReLU of slope 5 inverts it, after which w is nearly Gaussian (P); whitening then gives unit
deviations (P_N).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

if TYPE_CHECKING:
    from invertory.generators import Generator

SEED = 123  # the seed of NVIDIA's projector
FLOOR = 1e-6  # smallest variance of P relative to the largest: w has fewer axes than dimensions


def mapped_draws(generator: Generator, num_samples: int) -> Tensor:
    """Map draws of a fixed seed to w, [num_samples, w_dim], float64."""
    z = np.random.RandomState(SEED).randn(num_samples, generator.z_dim)
    with torch.no_grad():
        return generator.mapping(torch.from_numpy(z).to(generator.w_avg)).double()


def w_statistics(generator: Generator, num_samples: int) -> tuple[Tensor, Tensor]:
    """Mean w [w_dim] of `mapped_draws`, and their root mean square distance [] from it."""
    w = mapped_draws(generator, num_samples)
    w_avg = w.mean(0)
    # the distance between vectors: summed over dimensions, averaged over draws
    w_std = ((w - w_avg).square().sum() / num_samples).sqrt()
    return w_avg.to(generator.w_avg.dtype), w_std.to(generator.w_avg.dtype)


def gaussianise(w: Tensor) -> Tensor:
    """w [..., w_dim] => P: the last leaky ReLU inverted."""
    return leaky_relu(w, 5.0)


@dataclass(frozen=True, slots=True)
class Whitening:
    """w [..., w_dim] => P_N, with mean 0 and, for draws, unit covariance."""

    mean: Tensor  # [w_dim], mean in P
    matrix: Tensor  # [w_dim, w_dim]: principal axes divided by their deviations

    @classmethod
    def of(cls, generator: Generator, num_samples: int) -> Whitening:
        """Estimate the mean and covariance of `mapped_draws` in P."""
        p = gaussianise(mapped_draws(generator, num_samples))
        mean = p.mean(0)
        centred = p - mean
        # C = U diag(variances) U^T, so v_N = (v - mean) U / deviations
        variances, axes = torch.linalg.eigh(centred.T @ centred / max(num_samples - 1, 1))
        deviations = variances.clamp_min(float(variances[-1]) * FLOOR).sqrt()
        like = generator.w_avg
        return cls(mean.to(like), (axes / deviations).to(like))

    def __call__(self, w: Tensor) -> Tensor:
        return (gaussianise(w) - self.mean) @ self.matrix
