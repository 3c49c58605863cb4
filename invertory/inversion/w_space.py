"""What is known of a generator's w from draws: mean, deviation, and the space where it is Gaussian.

P and P_N: Improved StyleGAN Embedding: Where are the Good Latents?, Zhu, Abdal, Qin, Femiani and
Wonka 2020, https://arxiv.org/abs/2012.09036. The mapping ends in a leaky ReLU of slope 0.2; undone
by one of slope 5, w is nearly Gaussian (P), and whitened it has unit deviations (P_N).
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

SEED = 123  # the projector's, of NVIDIA's code
FLOOR = 1e-6  # least variance of P along an axis, over the largest: w has fewer axes than numbers


def mapped_draws(generator: Generator, num_samples: int) -> Tensor:
    """w of draws from a fixed seed, [num_samples, w_dim], float64."""
    z = np.random.RandomState(SEED).randn(num_samples, generator.z_dim)
    with torch.no_grad():
        return generator.mapping(torch.from_numpy(z).to(generator.w_avg)).double()


def w_statistics(generator: Generator, num_samples: int) -> tuple[Tensor, Tensor]:
    """Mean w [w_dim] and root mean square distance [] from it, of `mapped_draws`."""
    w = mapped_draws(generator, num_samples)
    w_avg = w.mean(0)
    # the distance is a vector's: summed over dimensions, averaged over draws
    w_std = ((w - w_avg).square().sum() / num_samples).sqrt()
    return w_avg.to(generator.w_avg.dtype), w_std.to(generator.w_avg.dtype)


def gaussianised(w: Tensor) -> Tensor:
    """w [..., w_dim] => P: the last leaky ReLU undone."""
    return leaky_relu(w, 5.0)


@dataclass(frozen=True, slots=True)
class Whitening:
    """w [..., w_dim] => P_N, of mean 0 and, for draws, unit covariance."""

    mean: Tensor  # [w_dim], of P
    matrix: Tensor  # [w_dim, w_dim]: principal axes over their deviations

    @classmethod
    def of(cls, generator: Generator, num_samples: int) -> Whitening:
        """From the mean and covariance of `mapped_draws` in P."""
        p = gaussianised(mapped_draws(generator, num_samples))
        mean = p.mean(0)
        centred = p - mean
        variances, axes = torch.linalg.eigh(centred.T @ centred / max(num_samples - 1, 1))
        deviations = variances.clamp_min(float(variances[-1]) * FLOOR).sqrt()
        like = generator.w_avg
        return cls(mean.to(like), (axes / deviations).to(like))

    def __call__(self, w: Tensor) -> Tensor:
        return (gaussianised(w) - self.mean) @ self.matrix
