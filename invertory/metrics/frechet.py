"""The Fréchet distance between two sets of features; with Inception features, "FID".

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
2017, https://arxiv.org/abs/1706.08500. The estimate is biased by the number of images: compare at
equal n only. We compute the trace of the matrix root from singular values instead of the root of a
non-symmetric matrix, so no imaginary part arises and null directions add nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True)
class Moments:
    """Mean and covariance of features that arrive in batches, in float64; features are not kept.

    Batches are merged as in Chan, Golub and LeVeque (1983), which keeps precision when the mean is
    far from zero.
    """

    count: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))  # [d]
    scatter: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))

    @classmethod
    def of(cls, batches: Iterable[Tensor]) -> Moments:
        """The moments of all rows of all batches, each [N, d]."""
        moments = cls()
        for features in batches:
            moments.update(features)
        return moments

    def update(self, features: Tensor) -> None:
        """Add features [N, d]."""
        if features.ndim != 2 or (self.count and features.shape[1] != len(self.mean)):
            num_features = len(self.mean) if self.count else "d"
            raise ValueError(f"expected features [N, {num_features}], got {list(features.shape)}")
        if len(features) == 0:
            return
        x = features.detach().double()
        mean = x.mean(0)
        centred = x - mean
        self.merge(Moments(len(x), mean, centred.T @ centred))

    def merge(self, other: Moments) -> None:
        """Add the moments of other rows."""
        if self.count == 0:
            self.count, self.mean, self.scatter = other.count, other.mean, other.scatter
            return
        total = self.count + other.count
        delta = other.mean - self.mean
        weight = self.count * other.count / total
        self.scatter = self.scatter + other.scatter + weight * torch.outer(delta, delta)
        self.mean = self.mean + delta * (other.count / total)
        self.count = total

    @property
    def covariance(self) -> Tensor:
        """[d, d], normalised by count - 1; raises ValueError for fewer than two rows."""
        if self.count < 2:
            raise ValueError(f"expected two or more rows for a covariance, got {self.count}")
        return self.scatter / (self.count - 1)


def frechet_distance(a: Moments, b: Moments) -> float:
    """mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)); 0 for equal moments."""
    if a.mean.shape != b.mean.shape:
        raise ValueError(
            f"expected moments of one embedding, got {len(a.mean)} and {len(b.mean)} features"
        )
    root_a, root_b = _root(a.covariance), _root(b.covariance)
    # The eigenvalues of S_a S_b are the squared singular values of root_a^T root_b.
    cross = torch.linalg.svdvals(root_a.T @ root_b).sum()
    traces = root_a.square().sum() + root_b.square().sum()
    return max(float((a.mean - b.mean).square().sum() + traces - 2 * cross), 0.0)


def _root(covariance: Tensor) -> Tensor:
    """F [d, rank] with F F^T = covariance; directions at rounding level are dropped."""
    values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
    floor = values[-1].clamp_min(0) * len(values) * torch.finfo(values.dtype).eps
    kept = values > floor
    out: Tensor = vectors[:, kept] * values[kept].sqrt()
    return out
