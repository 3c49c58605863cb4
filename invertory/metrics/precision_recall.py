"""Precision, recall and realism from nearest-neighbour manifolds in a feature space.

Kynkäänniemi et al., "Improved Precision and Recall Metric for Assessing Generative Models", 2019,
https://arxiv.org/abs/1904.06991. As in the authors' code, distances are squared, so our realism is
the square of the paper's ratio; 1 is the border of the manifold in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BLOCK = 1024  # rows of the distance matrix computed at a time


def precision_recall(real: Tensor, synth: Tensor, *, k: int = 3) -> tuple[float, float]:
    """Features [N, d], [M, d] => (precision, recall), each 0 to 1 (equation 2).

    Precision is the share of `synth` within the manifold of `real`; recall is the share of `real`
    within the manifold of `synth`.
    """
    precision = is_within(synth, real, squared_radii(real, k)).double().mean()
    recall = is_within(real, synth, squared_radii(synth, k)).double().mean()
    return float(precision), float(recall)


def squared_radii(features: Tensor, k: int = 3) -> Tensor:
    """[N, d] => [N]: squared distance of each row to its k-th neighbour, excluding itself."""
    if not 1 <= k < len(features):
        raise ValueError(f"expected k from 1 to {len(features) - 1} (rows - 1), got {k}")
    blocks = []
    for start in range(0, len(features), BLOCK):
        d2 = _squared_distances(features[start : start + BLOCK], features)
        rows = torch.arange(len(d2), device=d2.device)
        d2[rows, start + rows] = -1  # the row itself sorts first, despite rounding
        blocks.append(d2.kthvalue(k + 1, dim=1).values)
    return torch.cat(blocks)


def is_within(features: Tensor, reference: Tensor, radii2: Tensor) -> Tensor:
    """[M, d], [N, d], [N] => [M] bool: within at least one reference hypersphere (equation 1)."""
    blocks = [
        (_squared_distances(block, reference) <= radii2).any(1) for block in _blocks(features)
    ]
    return torch.cat(blocks)


def realism(features: Tensor, reference: Tensor, *, k: int = 3, pruned: bool = True) -> Tensor:
    """[M, d], [N, d] => scores [M]; 1 or more is within the manifold (equation 3, squared).

    `pruned` drops hyperspheres larger than the median, which are too wide in sparse regions
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
    """[M, d], [N, d] => [M, N] in float64, since differences of large squares lose precision."""
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(
            f"expected features [N, d] and [M, d], got {list(a.shape)} and {list(b.shape)}"
        )
    a, b = a.double(), b.double()
    d2 = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return d2.clamp_min(0)
