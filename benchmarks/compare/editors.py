"""Editors, which move latents towards an attribute.

"boundary" moves along normals as in InterFaceGAN: the directions of the generator's LinkNet, which
MAGEC is trained with, if there is one, else boundaries fitted to samples of the generator.
"ganspace" moves along the component that correlates most with the attribute's score on the same
samples; no method is trained with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare import budgets
from benchmarks.compare.domains import Domain
from benchmarks.compare.families import Family
from benchmarks.compare.reconstruction import scores_of, synthesised
from invertory.boundaries import Boundary, fit_boundary
from invertory.editing import ganspace, linear

if TYPE_CHECKING:
    from invertory.generators import Generator

Move = Callable[[Tensor, float], Tensor]  # w_plus [N, num_ws, w_dim], deviations => w_plus


@dataclass(frozen=True, slots=True)
class Editors:
    """editor => attribute => its move, and the reasons why attributes are skipped."""

    moves: dict[str, dict[str, Move]]
    boundaries: dict[str, Boundary]
    notes: dict[str, str]  # attribute => the choice, or why it is skipped


@torch.no_grad()
def editors(domain: Domain, family: Family, num_samples: int = budgets.NUM_SAMPLES) -> Editors:
    """Fit boundaries and components to samples of the generator scored by the classifier."""
    w, scores = _scored_samples(domain, family, budgets.ATTRIBUTES, num_samples)
    components = ganspace.components_of(family.generator, num_samples=50 * num_samples)
    found, linknet = Editors({"boundary": {}, "ganspace": {}}, {}, {}), family.linknet()
    for name, column in scores.items():
        if not _is_shown(column):
            share = float((column > 0.5).float().mean())
            found.notes[name] = f"skipped: shown by {share:.1%} of the generator's samples"
            continue
        boundary = _boundary(w, column)
        number, correlation = components.matching(w.cpu(), column)
        found.boundaries[name] = boundary
        found.moves["boundary"][name] = _along(boundary)
        found.moves["ganspace"][name] = _component(components.move(number), np.sign(correlation))
        found.notes[name] = (
            f"on {float((column > 0.5).float().mean()):.1%} of the samples; boundary accurate to "
            f"{boundary.accuracy_validation or float('nan'):.1%} of its validation rows; "
            f"component {number}, r = {correlation:+.2f}"
        )
        if linknet is not None and name in linknet.attributes:
            own = linknet.directions[linknet.attributes.index(name)].cpu()
            found.moves["boundary"][name] = _by_rows(own)
            found.notes[name] += "; moved along LinkNet's own direction"
        rows = torch.zeros(1, family.generator.num_ws, family.generator.w_dim)
        length = float(found.moves["boundary"][name](rows, budgets.EDIT_STEP).norm())
        found.notes[name] += f"; an edit is {length:.3g} long, as is the LEC of a constant encoder"
    return found


@torch.no_grad()
def native_boundaries(
    domain: Domain, family: Family, names: Sequence[str], num_samples: int
) -> dict[str, Boundary]:
    """Boundaries of the attributes that enough samples show and enough lack."""
    w, scores = _scored_samples(domain, family, names, num_samples)
    found = {}
    for name, column in scores.items():
        with contextlib.suppress(ValueError):  # too few samples on one side
            if _is_shown(column):
                found[name] = _boundary(w, column)
    return found


def _scored_samples(
    domain: Domain, family: Family, names: Sequence[str], num: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """w [num, w_dim] of the generator, and the classifier's scores of their images."""
    assert domain.classifier is not None
    generator, known = family.generator, domain.classifier.attributes
    w = _samples(generator, num)
    w_plus = w[:, None].expand(-1, generator.num_ws, -1)
    px = domain.sets[0].targets.shape[-1]
    scores = scores_of(domain, domain.classifier, synthesised(domain, generator, w_plus, px))
    return w, {name: scores[:, known.index(name)] for name in names if name in known}


def _is_shown(scores: Tensor) -> bool:
    """Whether enough samples show the attribute and enough lack it."""
    share = float((scores > 0.5).float().mean())
    return budgets.MIN_SHARE <= share <= 1 - budgets.MIN_SHARE


def _boundary(w: Tensor, scores: Tensor) -> Boundary:
    return fit_boundary(
        w[:, None].cpu(), scores, ratio=budgets.FIT_RATIO, solver="linear", threshold=0.5
    )


def _samples(generator: Generator, num: int) -> Tensor:
    """w [num, w_dim] of independent samples."""
    rng = torch.Generator().manual_seed(budgets.SAMPLES_SEED)
    z = torch.randn(num, generator.z_dim, generator=rng)
    return generator.mapping(z.to(generator.w_avg.device))


def _along(boundary: Boundary) -> Move:
    def move(w_plus: Tensor, deviations: float) -> Tensor:
        return linear.edit(w_plus, boundary.normal, deviations * (boundary.spread or 1.0))

    return move


def _component(component: Tensor, sign: float) -> Move:
    def move(w_plus: Tensor, deviations: float) -> Tensor:
        return ganspace.edit(w_plus, component, deviations * sign)

    return move


def _by_rows(direction: Tensor) -> Move:
    """The standard deviation of w as a step [num_ws, w_dim]."""

    def move(w_plus: Tensor, deviations: float) -> Tensor:
        return w_plus + deviations * direction

    return move
