"""Boundaries of attributes in latent space.

Shen et al. 2020, "Interpreting the Latent Space of GANs for Semantic Face Editing" (InterFaceGAN),
https://arxiv.org/abs/1907.10786

Differs from the official code: the intercept is kept (scaled with the normal), randomness is
seeded, any number of conditions is supported (Gram solve), and the plane of a conditional normal is
refitted.

A latent is [num_rows, w_dim]; num_rows is 1 in W. Inner products are means over rows, <a, b> =
mean_r(a_r . b_r), so a boundary of one row equals the same boundary repeated in every row of W+,
and a step of 1 along a unit normal always changes the distance by 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC
from torch import Tensor

Solver = Literal["svc", "linear", "logistic"]
Selection = Literal["extremes", "threshold"]
Rows = Literal["joint", "each"]

SOLVERS: dict[Solver, Callable[[int], Any]] = {
    "svc": lambda seed: SVC(kernel="linear", C=1.0),  # as in the official code, O(N^2)
    "linear": lambda seed: LinearSVC(C=1.0, max_iter=500_000, random_state=seed),
    "logistic": lambda seed: LogisticRegression(C=1.0, max_iter=10_000),
}

MIN_CHOSEN = 5  # rows needed on either side to fit a plane
MIN_RESIDUAL = 1e-6  # least norm of a unit normal after conditioning


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """A hyperplane: distance(w) = <normal, w> + offset, positive towards higher scores.

    An imported direction that has not been calibrated has only a normal.
    """

    normal: Tensor  # [num_rows, w_dim] float64, unit: mean over rows of |row|^2 is 1
    offset: float | None = None
    spread: float | None = None  # standard deviation of the distance over the fitted rows
    threshold: float | None = None  # a label is positive from this score on
    accuracy_validation: float | None = None  # None if nothing was held out
    accuracy_remaining: float | None = None  # on rows that were not selected; None if all were
    num_positive: int | None = None  # selected rows, training and validation
    num_negative: int | None = None
    solver: str | None = None

    @property
    def plane(self) -> tuple[Tensor, float]:
        """(normal, offset); raises ValueError for a bare direction without an offset."""
        if self.offset is None:
            raise ValueError(
                "expected a boundary with an offset, got a bare direction; fit its plane with "
                "calibrate_offset on scored latents"
            )
        return self.normal, self.offset

    def distance(self, latents: Tensor) -> Tensor:
        """Latents [N, rows, w_dim] => signed distances [N], float64."""
        normal, offset = self.plane
        return project(latents, normal) + offset


def unit(normal: Tensor) -> Tensor:
    """[rows, w_dim] => float64 of norm 1, where |n|^2 is the mean over rows of |row|^2.

    Raises ValueError if the norm is zero or not finite.
    """
    normal = normal.double()
    norm = normal.square().sum(-1).mean().sqrt()
    if not torch.isfinite(norm) or norm == 0:
        raise ValueError(
            f"expected a direction with a finite, non-zero norm, got norm {float(norm)}; "
            "check the file or the fit it comes from"
        )
    return normal / norm


def project(latents: Tensor, normal: Tensor) -> Tensor:
    """Latents [N, rows, w_dim], normal [rows or 1, w_dim] => <normal, w> [N], float64."""
    if latents.ndim != 3 or latents.shape[-1] != normal.shape[-1]:
        raise ValueError(
            f"expected latents [N, rows, {normal.shape[-1]}], got {list(latents.shape)}; "
            "a boundary applies only to the generator that it was fitted for"
        )
    if normal.shape[0] not in (1, latents.shape[1]):
        raise ValueError(
            f"expected a normal of 1 or {latents.shape[1]} rows, got {normal.shape[0]}; "
            "adapt its rows first (invertory.editing.directions.adapt_rows)"
        )
    return (latents.double() * normal.to(latents.device)).sum(-1).mean(-1)


def fit_boundary(
    latents: Tensor,
    scores: Tensor,
    *,
    ratio: float = 0.02,
    selection: Selection = "extremes",
    rows: Rows = "joint",
    split: float = 0.7,
    solver: Solver = "svc",
    threshold: float | None = None,
    seed: int = 0,
    permutations: tuple[Tensor, Tensor] | None = None,
) -> Boundary:
    """Fit a plane between high and low scores.

    `latents` are [N, w_dim] or [N, rows, w_dim]; `scores` are [N], raw or labels 0 and 1.
    "extremes" selects ratio * N rows at either end; "threshold" uses every row, labelled by
    `threshold`, which defaults to the middle of the range of scores. Rows of W+ are fitted jointly
    (flattened) or each on its own. The share `split` of the selected rows trains, the rest
    validates. `permutations` replaces the seeded shuffles of the positive and negative rows.

    Raises ValueError if fewer than 5 rows lie on either side, or if ties prevent a selection.
    """
    latents, scores = _check_inputs(latents, scores)
    limit = (scores.max() + scores.min()).item() / 2 if threshold is None else threshold
    generator = torch.Generator().manual_seed(seed)
    chosen = _choose(scores, limit, _num_chosen(scores, limit, ratio), selection, generator)
    orders = permutations or tuple(
        torch.randperm(len(side), generator=generator) for side in chosen
    )
    positive, negative = (side[order] for side, order in zip(chosen, orders, strict=True))
    p, n = int(len(positive) * split), int(len(negative) * split)
    normal, offset = _solve(latents, positive[:p], negative[:n], rows, solver, seed)
    distances = project(latents, normal) + offset
    labels = scores >= limit
    rest = torch.ones(len(scores), dtype=torch.bool)
    rest[positive], rest[negative] = False, False
    return Boundary(
        normal=normal,
        offset=offset,
        spread=float(distances.std(correction=0)),
        threshold=limit,
        accuracy_validation=_agreement(
            torch.cat([distances[positive[p:]] > 0, distances[negative[n:]] <= 0])
        ),
        accuracy_remaining=_agreement((distances > 0)[rest] == labels[rest]),
        num_positive=len(positive),
        num_negative=len(negative),
        solver=solver,
    )


def calibrate_offset(
    normal: Tensor,
    latents: Tensor,
    scores: Tensor,
    *,
    threshold: float | None = None,
    split: float = 0.7,
    seed: int = 0,
) -> Boundary:
    """Place a plane across a known direction by a one-dimensional logistic fit along the normal.

    `latents` are [N, rows, w_dim], `scores` [N]. Turns an imported direction, which has no plane,
    into a boundary. The normal is flipped if scores decrease along it.
    """
    latents, scores = _check_inputs(latents, scores)
    limit = (scores.max() + scores.min()).item() / 2 if threshold is None else threshold
    labels = scores >= limit
    _check_enough(int(labels.sum()), int((~labels).sum()), f"with threshold {limit:g}")
    order = torch.randperm(len(scores), generator=torch.Generator().manual_seed(seed))
    train, held_out = order[: int(len(order) * split)], order[int(len(order) * split) :]
    along = project(latents, unit(normal))
    slope, crossing = _logistic_1d(along[train], labels[train])
    sign = 1.0 if slope > 0 else -1.0
    distances = sign * (along - crossing)
    return Boundary(
        normal=sign * unit(normal),
        offset=-sign * crossing,
        spread=float(distances.std(correction=0)),
        threshold=limit,
        accuracy_validation=_agreement((distances > 0)[held_out] == labels[held_out]),
        accuracy_remaining=None,
        num_positive=int(labels.sum()),
        num_negative=int((~labels).sum()),
        solver="calibrated",
    )


def condition_normal(primal: Tensor, conditions: Tensor) -> Tensor:
    """Section 3.2: remove from primal [rows, w_dim] its projection on conditions [k, ...].

    n' = n - C^T (C C^T)^-1 C n, renormalised: a step along n' leaves the distances to all k
    conditions unchanged. Raises ValueError if the conditions span the primal direction.
    """
    primal = unit(primal)
    if not len(conditions):
        return primal
    wide = [
        unit(condition).expand(max(len(primal), len(condition)), -1) for condition in conditions
    ]
    C = torch.stack([c.flatten() for c in wide])
    n = primal.expand(wide[0].shape[0], -1).flatten()
    residual = (
        n - C.T @ torch.linalg.lstsq(C @ C.T, (C @ n)[:, None], driver="gelsd").solution[:, 0]
    )
    if residual.norm() < MIN_RESIDUAL * n.norm():
        raise ValueError(
            "expected a direction outside the span of its conditions, got one that vanishes when "
            f"its {len(conditions)} condition(s) are removed; drop a condition"
        )
    return unit(residual.reshape(-1, primal.shape[-1]))


def condition_boundary(
    boundary: Boundary,
    conditions: Sequence[Boundary],
    latents: Tensor,
    scores: Tensor,
    *,
    seed: int = 0,
) -> Boundary:
    """`condition_normal` with a refitted plane: the old offset does not apply to the new normal."""
    normal = condition_normal(boundary.normal, _stack([c.normal for c in conditions]))
    placed = calibrate_offset(normal, latents, scores, threshold=boundary.threshold, seed=seed)
    return replace(placed, solver=boundary.solver)


def _check_inputs(latents: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Validate the inputs; return [N, rows, w_dim] and [N] as float64 on the CPU."""
    latents = latents[:, None] if latents.ndim == 2 else latents
    scores = scores.flatten()
    if latents.ndim != 3 or len(latents) != len(scores):
        raise ValueError(
            f"expected latents [N, rows, w_dim] and scores [N], got {list(latents.shape)} and "
            f"{list(scores.shape)}; pass one score for each latent"
        )
    if not (torch.isfinite(scores).all() and torch.isfinite(latents).all()):
        raise ValueError("expected finite latents and scores, got NaN or infinity; drop those rows")
    return latents.detach().cpu().double(), scores.detach().cpu().double()


def _num_chosen(scores: Tensor, limit: float, ratio: float) -> int:
    num = min(int(len(scores) * ratio), len(scores) // 2)
    # binary labels: select at most as many rows as the rarer label has
    if bool(((scores == scores.min()) | (scores == scores.max())).all()):
        num = min(num, int((scores >= limit).sum()), int((scores < limit).sum()))
    return num


def _choose(
    scores: Tensor, limit: float, num: int, selection: Selection, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Indices of the positive rows (highest score first) and the negative rows; ties are random."""
    order = torch.randperm(len(scores), generator=generator)
    order = order[scores[order].argsort(descending=True, stable=True)]
    if selection == "threshold":
        num_positive = int((scores >= limit).sum())
        positive, negative = order[:num_positive], order[num_positive:]
    else:
        positive, negative = order[:num], order[len(order) - num :]
    _check_enough(len(positive), len(negative), f"of {len(scores)} scored rows")
    if scores[positive].min() <= scores[negative].max():
        raise ValueError(
            f"expected scores that separate {len(positive)} high rows from {len(negative)} low "
            f"ones, got ties at {scores[positive].min():g}; choose fewer rows or use another scorer"
        )
    return positive, negative


def _check_enough(num_positive: int, num_negative: int, where: str) -> None:
    if min(num_positive, num_negative) < MIN_CHOSEN:
        raise ValueError(
            f"expected at least {MIN_CHOSEN} rows on either side, got {num_positive} positive and "
            f"{num_negative} negative {where}; score more rows, raise ratio or change threshold"
        )


def _solve(
    latents: Tensor, positive: Tensor, negative: Tensor, rows: Rows, solver: Solver, seed: int
) -> tuple[Tensor, float]:
    """The unit normal [rows, w_dim] and its offset."""
    if rows == "each" and latents.shape[1] > 1:
        fits = [
            _solve(row[:, None], positive, negative, "joint", solver, seed)
            for row in latents.unbind(1)
        ]
        return torch.cat([n for n, _ in fits]), sum(b for _, b in fits) / len(fits)
    chosen = latents[torch.cat([positive, negative])].flatten(1).numpy()
    labels = np.concatenate([np.ones(len(positive), int), np.zeros(len(negative), int)])
    plane = SOLVERS[solver](seed).fit(chosen, labels)
    coef = torch.tensor(plane.coef_).reshape(latents.shape[1:])
    norm = coef.norm() * coef.shape[0] ** 0.5  # decision = R * |coef|_mean * distance
    return unit(coef), float(plane.intercept_[0] / norm)


def _logistic_1d(along: Tensor, labels: Tensor) -> tuple[float, float]:
    """Slope, and the position at which the probability is 1/2; standardised for the fit."""
    mean, std = along.mean(), along.std(correction=0).clamp_min(1e-12)
    plane = LogisticRegression(C=1e3, max_iter=10_000).fit(
        ((along - mean) / std)[:, None].numpy(), labels.numpy().astype(int)
    )
    slope, bias = float(plane.coef_[0, 0]), float(plane.intercept_[0])
    if abs(slope) < 1e-9:
        raise ValueError(
            "expected scores that vary along the direction, got a slope of 0; use the direction "
            "of this attribute"
        )
    return slope, float(mean - std * bias / slope)


def _agreement(is_right: Tensor) -> float | None:
    return float(is_right.double().mean()) if len(is_right) else None


def _stack(normals: Sequence[Tensor]) -> Tensor:
    rows = max((len(n) for n in normals), default=0)
    return torch.stack([n.expand(rows, -1) for n in normals]) if normals else torch.empty(0)
