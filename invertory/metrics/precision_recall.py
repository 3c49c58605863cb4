"""Precision, recall and realism from neighbourhoods in a feature space.

Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019,
https://arxiv.org/abs/1904.06991. As in the authors' code, distances are squared, so our realism is
the square of the paper's ratio; 1 is the border of the manifold either way.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 1024  # rows of a distance matrix that are in memory at a time


def precision_recall(real: Tensor, synth: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Features [N, d], [M, d] => the shares of made in the real manifold, and the other way round.

    Equation 2.
    """
    precision = is_within(synth, real, squared_radii(real, k)).double().mean()
    recall = is_within(real, synth, squared_radii(synth, k)).double().mean()
    return float(precision), float(recall)


def squared_radii(features: Tensor, k: int = 3) -> Tensor:
    """[N, d] => [N]: squared distance of each row to its k-th neighbour, itself not counted."""
    if not 1 <= k < len(features):
        raise ValueError(f"expected k from 1 to {len(features) - 1} (rows - 1), got {k}")
    blocks = []
    for start in range(0, len(features), BLOCK):
        d2 = _squared_distances(features[start : start + BLOCK], features)
        rows = torch.arange(len(d2), device=d2.device)
        d2[rows, start + rows] = -1  # itself comes first, whatever rounding says
        blocks.append(d2.kthvalue(k + 1, dim=1).values)
    return torch.cat(blocks)


def is_within(features: Tensor, reference: Tensor, radii2: Tensor) -> Tensor:
    """[M, d], [N, d], [N] => [M] bool: in the sphere of one reference row at least (equation 1)."""
    blocks = [
        (_squared_distances(block, reference) <= radii2).any(1) for block in _blocks(features)
    ]
    return torch.cat(blocks)


def realism(features: Tensor, reference: Tensor, *, k: int = 3, pruned: bool = True) -> Tensor:
    """[M, d], [N, d] => [M] scores, 1 or more within the manifold (equation 3, squared).

    `pruned`: the spheres larger than the median are left out, as sparse regions make them too wide
    (section 5).
    """
    radii2 = squared_radii(reference, k)
    if pruned:
        radii2 = torch.where(radii2 <= radii2.quantile(0.5), radii2, 0)
    blocks = [
        (radii2 / (_squared_distances(block, reference) + 1e-5)).amax(1)
        for block in _blocks(features)
    ]
    return torch.cat(blocks)


def _blocks(features: Tensor) -> Sequence[Tensor]:
    return torch.split(features, BLOCK)


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """[M, d], [N, d] => [M, N] in float64, where the difference of large squares is still exact."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"expected features [N, d] and [M, d], got {list(a.shape)} and {list(b.shape)}"
        )
    a, b = a.double(), b.double()
    d2 = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return d2.clamp_min(0)
