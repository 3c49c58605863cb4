"""Edits of inverted portraits: scores, comparison with true counterfactuals, repeated inversion."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare import budgets, objects
from benchmarks.compare.budgets import Arm
from benchmarks.compare.domains import Domain, PictureSet, images_of
from benchmarks.compare.editors import Move
from benchmarks.compare.reconstruction import (
    Inverted,
    embedding,
    invert,
    rendered,
    scores_of,
)
from benchmarks.compare.results import PICTURE, Values
from invertory.metrics.counterfactual import compare_edit, relative_gain
from invertory.metrics.edit_consistency import Cycle, edit_consistency
from invertory.metrics.improved_target import improved_target
from invertory.metrics.latent_consistency import latent_error
from invertory.metrics.precision_recall import realism

T, ECS, LEC, LEC_SHARE = "t", "ECS", "LEC", "LEC of the codes' spread"
GAIN, COSINE = "counterfactual gain", "counterfactual cosine"
ERROR, IDLE, REALISM = "counterfactual MSE", "counterfactual MSE of no edit", "realism of edits"


@dataclass(frozen=True, slots=True)
class Edited:
    """The images of a set that lack an attribute, and their true counterfactuals."""

    attribute: str
    rows: Tensor  # row numbers in the set
    changed: Tensor  # [n, 3, H, H] true images with the attribute


def lacking(chosen: PictureSet, attribute: str) -> Edited:
    """The portraits without the attribute, and their true counterfactuals.

    Portraits whose object would hide the change are skipped.
    """
    has = chosen.truth([attribute])[:, 0] > 0.5
    rows, changed = [], []
    for row in (~has).nonzero().flatten().tolist():
        with contextlib.suppress(ValueError):  # hidden behind an object
            changed.append(chosen.portraits[row].with_attribute(attribute, 1))
            rows.append(row)
    images = images_of(changed, chosen.targets.shape[-1])
    return Edited(attribute, torch.tensor(rows, dtype=torch.int64), images)


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
    """Measures of one edit; `made` [N, 3, H, H] are the unedited inversions of the set.

    `real` [M, D] are embeddings of real images, which define realism.
    """
    assert domain.referee is not None
    some, px = inverted.rows(edited.rows), chosen.targets.shape[-1]
    targets, before = chosen.targets[edited.rows], made[edited.rows]
    w_plus = move(some.w_plus, budgets.EDIT_STEP)
    after = rendered(domain, arm, some, px, w_plus=w_plus)
    column = domain.referee.attributes.index(edited.attribute)
    scores = [scores_of(domain, domain.referee, x)[:, column] for x in (before, after)]
    truth = compare_edit(before, after, targets, edited.changed)
    found = {
        T: improved_target(*scores),
        GAIN: relative_gain(truth),
        COSINE: truth.cosine,
        ERROR: truth.error,
        IDLE: truth.idle_error,
        REALISM: realism(embedding(domain, after), real).float(),
        PICTURE: edited.rows,
    }
    columns = {name: values.double().numpy() for name, values in found.items()}
    if chosen.objects is not None and bool(chosen.objects.any()):
        columns |= objects.edited(before, after, targets, chosen.objects[edited.rows])
    return {
        f"{name}/{edited.attribute}": (
            values if name == PICTURE else np.where(some.is_finite, values, np.nan)
        )
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
    """ECS and LEC of the first `num` rows: invert the edit with the same arm, and undo the edit.

    Other rows are NaN. LEC uses the latents only, as published; for a method that keeps parts of
    the image in its state, ECS includes their error. Latents that hardly vary between images have
    a small LEC for that reason (that of a constant encoder is the length of the edit), so LEC is
    also given relative to the mean distance of the arm's latents from their mean.
    """
    codes = inverted.w_plus[inverted.is_finite].float()
    spread = (codes - codes.mean(0)).flatten(1).norm(dim=1).mean().double()
    some, px = inverted.rows(edited.rows[:num]), domain.sets[0].targets.shape[-1]
    w_plus = move(some.w_plus, budgets.EDIT_STEP)
    images = rendered(domain, arm, some, px, w_plus=w_plus)
    again = invert(domain, arm, images, batch=batch)
    taken_back = move(again.w_plus, -budgets.EDIT_STEP)
    back = rendered(domain, arm, again, px, w_plus=taken_back)
    cycle = Cycle(*(x.to(domain.device) for x in (rendered(domain, arm, some, px), images, back)))
    lec = latent_error(some.w_plus, taken_back).double()
    ecs = edit_consistency(cycle, domain.measures[0]).double().cpu()
    scores = {ECS: ecs, LEC: lec, LEC_SHARE: lec / spread}
    is_finite = (some.is_finite & again.is_finite).numpy()
    found = {}
    for name, values in scores.items():
        column = np.full(len(edited.rows), np.nan)
        column[: len(values)] = np.where(is_finite, values.numpy(), np.nan)
        found[f"{name}/{edited.attribute}"] = column
    return found


def joined(columns: Mapping[str, Values]) -> dict[str, Values]:
    """Add to the columns of single attributes their concatenation, under the name of the measure.

    All concatenated columns have the rows of `PICTURE`; missing measurements are NaN.
    """
    found = dict(columns)
    sizes = {
        key.partition("/")[2]: len(values)
        for key, values in columns.items()
        if key.startswith(f"{PICTURE}/")
    }
    for name in dict.fromkeys(key.partition("/")[0] for key in columns):
        parts = [columns.get(f"{name}/{a}", np.full(n, np.nan)) for a, n in sizes.items()]
        found[name] = np.concatenate(parts)
    return found
