"""Latents paired across a protected attribute.

Ramaswamy, Kim and Russakovsky 2021, "Fair Attribute Classification through Latent Space
De-biasing", https://arxiv.org/abs/2012.01469

The paper negates the distance to the protected boundary and keeps the distance to the target's.
Both are linear constraints, so the nearest latent that satisfies them, and any further ones, has a
closed form, which replaces the gradient search of the official code:

    z' = z + W^T (W W^T)^-1 (s - (W z + b))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from invertory.boundaries import Boundary

Variant = Literal["pair", "on_hyperplane", "perpendicular", "perpendicular_on_hyperplane"]
Rows = Literal["together", "each"]

MAX_CONDITION = 1e10  # of the Gram matrix of unit normals; above it they are dependent


def move_to(z: Tensor, W: Tensor, b: Tensor, s: Tensor) -> Tensor:
    """The nearest z' with W z' + b = s. z [N, D], W [k, D], b [k], s [N, k] => [N, D] float64.

    Raises ValueError if rows of W are (nearly) parallel.
    """
    z, W, b, s = (t.double() for t in (z, W, b, s))
    gram = W @ W.T
    scale = gram.diagonal().rsqrt()
    condition = torch.linalg.cond(gram * scale[:, None] * scale)
    if not condition < MAX_CONDITION:
        raise ValueError(
            f"expected boundaries with different normals, got a Gram matrix of condition "
            f"{float(condition):.1e}; two of {len(W)} constraints are nearly the same: drop one"
        )
    out: Tensor = z + torch.linalg.solve(gram, (s - (z @ W.T + b)).T).T @ W
    return out


def pair(
    z: Tensor,
    target: tuple[Tensor, float],
    protected: tuple[Tensor, float],
    variant: Variant = "pair",
) -> Tensor:
    """z [N, D] => z' [N, D] float64; a hyperplane is (unit normal [D], offset).

    "pair" is the paper's method: it keeps the target distance and negates the protected one. Its
    ablations: "on_hyperplane" sets the protected distance to 0; the "perpendicular" variants do not
    constrain the target distance.
    """
    (w_a, b_a), (w_g, b_g) = target, protected
    normals, offsets = (
        torch.stack([w_a, w_g]).double(),
        torch.tensor([b_a, b_g], dtype=torch.float64),
    )
    normals, offsets = normals.to(z.device), offsets.to(z.device)
    goals = z.double() @ normals.T + offsets
    goals[:, 1] *= 0.0 if variant.endswith("on_hyperplane") else -1.0
    constraints = slice(1, 2) if variant.startswith("perpendicular") else slice(0, 2)
    return move_to(z, normals[constraints], offsets[constraints], goals[:, constraints])


def partner(
    w_plus: Tensor,
    target: Boundary,
    protected: Boundary,
    extra: Sequence[Boundary] = (),
    *,
    rows: Rows = "together",
    min_distance: float = 0.0,
    is_protected: Tensor | None = None,
) -> Tensor:
    """w_plus [N, rows, w_dim] => the partners of these latents, same shape and dtype.

    The distance to `protected` is negated; the distances to `target` and `extra` are kept.
    "together" averages distances over the rows (a boundary of one row then moves every row
    equally); "each" solves every row of W+ on its own and needs boundaries of one row.

    `min_distance` (our addition; 0 is the paper's method) is the least distance of a partner beyond
    the protected plane. `is_protected` [N] bool are the labels to move away from; by default they
    are the signs of the distances.
    """
    bounds = [target, protected, *extra]
    if rows == "each":
        if any(len(bound.normal) > 1 for bound in bounds):
            raise ValueError(
                "expected boundaries of one row for rows='each', got boundaries of several rows; "
                "fit them in W, or use rows='together'"
            )
        flat = w_plus.flatten(0, 1)[:, None]
        labels = None if is_protected is None else is_protected.repeat_interleave(w_plus.shape[1])
        moved = partner(
            flat, target, protected, extra, min_distance=min_distance, is_protected=labels
        )
        return moved.reshape(w_plus.shape)
    goals = torch.stack([bound.distance(w_plus) for bound in bounds], 1)
    goals[:, 1] = _beyond(goals[:, 1], min_distance, is_protected)
    num_rows = w_plus.shape[1]
    W = torch.stack([bound.normal.expand(num_rows, -1).flatten() for bound in bounds]) / num_rows
    b = w_plus.new_tensor([bound.plane[1] for bound in bounds], dtype=torch.float64)
    moved = move_to(w_plus.flatten(1), W.to(w_plus.device), b, goals)
    return moved.reshape(w_plus.shape).to(w_plus.dtype)


def _beyond(distance: Tensor, min_distance: float, is_protected: Tensor | None) -> Tensor:
    """The negated distance; with `min_distance`, at least that far on the side opposite to the
    label.
    """
    if min_distance == 0.0:
        return -distance
    label = distance > 0 if is_protected is None else is_protected.to(distance.device)
    return torch.where(label, -1.0, 1.0) * distance.abs().clamp_min(min_distance)
