"""Edits of inverted portraits, scored by a referee, by the cycle of MAGEC, and by the truth.

Two editors. "boundary" moves along InterFaceGAN's normals: those of the generator's LinkNet where
there is one, which MAGEC is trained with, else ones fitted on samples of the generator. "ganspace"
moves along the component that goes with the attribute's score on the same samples; no method was
trained with it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare import budgets, objects
from benchmarks.compare.budgets import Arm
from benchmarks.compare.domains import Domain, PictureSet, pictures_of
from benchmarks.compare.families import Family
from benchmarks.compare.reconstruction import (
    Inverted,
    embedding,
    invert,
    rendered,
    scores_of,
    synthesised,
)
from benchmarks.compare.results import Values
from invertory.boundaries import Boundary, fit_boundary
from invertory.editing import ganspace, linear
from invertory.metrics.counterfactual import compare_edit, worth
from invertory.metrics.edit_consistency import Cycle, edit_consistency
from invertory.metrics.improved_target import improved_target
from invertory.metrics.precision_recall import realism

if TYPE_CHECKING:
    from invertory.generators import Generator

Move = Callable[[Tensor, float], Tensor]  # w_plus [N, num_ws, w_dim], deviations => w_plus
T, ECS, GAIN, COSINE = "t", "ECS", "counterfactual gain", "counterfactual cosine"
ERROR, IDLE, REALISM = "counterfactual MSE", "counterfactual MSE of no edit", "realism of edits"


@dataclass(frozen=True, slots=True)
class Editors:
    """editor => attribute => how it moves; and why an attribute is not edited."""

    moves: dict[str, dict[str, Move]]
    boundaries: dict[str, Boundary]
    told: dict[str, str]  # what was chosen or left out


@dataclass(frozen=True, slots=True)
class Edited:
    """The pictures of a set that lack an attribute, and what they look like with it."""

    attribute: str
    rows: Tensor  # of the set
    changed: Tensor  # [n, 3, H, H] true pictures with the attribute


@torch.no_grad()
def editors(domain: Domain, family: Family, num_samples: int = budgets.NUM_SAMPLES) -> Editors:
    """Boundaries and components on samples of the generator, scored by the classifier."""
    assert domain.classifier is not None
    generator, linknet = family.generator, family.linknet()
    w = _samples(generator, num_samples)
    w_plus = w[:, None].expand(-1, generator.num_ws, -1)
    px = domain.sets[0].targets.shape[-1]
    scores = scores_of(domain, domain.classifier, synthesised(domain, generator, w_plus, px))
    components = ganspace.components_of(generator, num_samples=50 * num_samples)
    found = Editors({"boundary": {}, "ganspace": {}}, {}, {})
    for name in budgets.ATTRIBUTES:
        column = scores[:, domain.classifier.attributes.index(name)]
        share = float((column > 0.5).float().mean())
        if not budgets.MIN_SHARE <= share <= 1 - budgets.MIN_SHARE:
            found.told[name] = f"left out: on {share:.1%} of the generator's samples"
            continue
        boundary = fit_boundary(
            w[:, None].cpu(), column, ratio=budgets.FIT_RATIO, solver="linear", threshold=0.5
        )
        number, correlation = components.matching(w.cpu(), column)
        found.boundaries[name] = boundary
        found.moves["boundary"][name] = _along(boundary)
        found.moves["ganspace"][name] = _component(components.move(number), np.sign(correlation))
        found.told[name] = (
            f"on {share:.1%} of the samples; boundary accurate to "
            f"{boundary.accuracy_validation or float('nan'):.1%} of its validation rows; "
            f"component {number}, r = {correlation:+.2f}"
        )
        if linknet is not None and name in linknet.attributes:
            own = linknet.directions[linknet.attributes.index(name)].cpu()
            found.moves["boundary"][name] = _by_rows(own)
            found.told[name] += "; moved along LinkNet's own direction"
    return found


def lacking(chosen: PictureSet, attribute: str) -> Edited:
    """The portraits without the attribute, and their true counterfactuals.

    Without those whose object would hide the change: they have no true picture of it.
    """
    has = chosen.truth([attribute])[:, 0] > 0.5
    rows, changed = [], []
    for row in (~has).nonzero().flatten().tolist():
        with contextlib.suppress(ValueError):  # hidden behind an object
            changed.append(chosen.portraits[row].with_attribute(attribute, 1))
            rows.append(row)
    pictures = pictures_of(changed, chosen.targets.shape[-1])
    return Edited(attribute, torch.tensor(rows, dtype=torch.int64), pictures)


@torch.no_grad()
def scored_edit(
    domain: Domain,
    arm: Arm,
    chosen: PictureSet,
    inverted: Inverted,
    made: Tensor,
    edited: Edited,
    move: Move,
    real: Tensor,
) -> dict[str, Values]:
    """Measures of one edit: `made` [N, 3, H, H] are the unedited inversions of the set.

    `real` [M, D] are embeddings of true pictures, for the realism.
    """
    assert domain.referee is not None
    some, px = inverted.rows(edited.rows), chosen.targets.shape[-1]
    targets, before = chosen.targets[edited.rows], made[edited.rows]
    w_plus = move(some.w_plus, budgets.EDIT_STEP)
    after = rendered(domain, arm, some, px, w_plus=w_plus)
    column = domain.referee.attributes.index(edited.attribute)
    told = [scores_of(domain, domain.referee, x)[:, column] for x in (before, after)]
    truth = compare_edit(before, after, targets, edited.changed)
    found = {
        T: improved_target(*told),
        GAIN: worth(truth),
        COSINE: truth.cosine,
        ERROR: truth.error,
        IDLE: truth.idle_error,
        REALISM: realism(embedding(domain, after), real).float(),
    }
    columns = {name: values.double().numpy() for name, values in found.items()}
    if chosen.objects is not None and bool(chosen.objects.any()):
        columns |= objects.edited(before, after, targets, chosen.objects[edited.rows])
    return {
        f"{name}/{edited.attribute}": np.where(some.is_finite, values, np.nan)
        for name, values in columns.items()
    }


def cycled(
    domain: Domain,
    arm: Arm,
    inverted: Inverted,
    edited: Edited,
    move: Move,
    *,
    num: int,
    batch: int,
) -> dict[str, Values]:
    """ECS of the first `num` of them: the edit is inverted by the same arm, and taken back."""
    some, px = inverted.rows(edited.rows[:num]), domain.sets[0].targets.shape[-1]
    w_plus = move(some.w_plus, budgets.EDIT_STEP)
    pictures = rendered(domain, arm, some, px, w_plus=w_plus)
    again = invert(domain, arm, pictures, batch=batch)
    taken_back = move(again.w_plus, -budgets.EDIT_STEP)
    back = rendered(domain, arm, again, px, w_plus=taken_back)
    cycle = Cycle(rendered(domain, arm, some, px), pictures, back)
    measure = domain.measures[0]
    on_device = Cycle(*(x.to(domain.device) for x in cycle))
    scores = edit_consistency(on_device, measure).double().cpu()
    is_finite = some.is_finite & again.is_finite
    return {f"{ECS}/{edited.attribute}": np.where(is_finite, scores, np.nan)}


def joined(columns: Mapping[str, Values]) -> dict[str, Values]:
    """Beside each measure's attributes, all of them one after the other under the bare name."""
    found = dict(columns)
    for name in dict.fromkeys(key.partition("/")[0] for key in columns):
        found[name] = np.concatenate([v for k, v in columns.items() if k.startswith(f"{name}/")])
    return found


def _samples(generator: Generator, num: int) -> Tensor:
    """w [num, w_dim] of independent draws."""
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
    """A deviation [num_ws, w_dim]."""

    def move(w_plus: Tensor, deviations: float) -> Tensor:
        return w_plus + deviations * direction

    return move
