"""Analyses with images of their own: semantics of latents, time to quality, samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from benchmarks.compare import budgets
from benchmarks.compare.budgets import Arm, Budget
from benchmarks.compare.domains import Domain, PictureSet, drawn
from benchmarks.compare.families import Family
from benchmarks.compare.reconstruction import (
    SECONDS,
    embedding,
    invert,
    measured,
    rendered,
    synthesised,
)
from benchmarks.compare.results import Values
from invertory.boundaries import Boundary
from invertory.metrics.frechet import Moments, frechet_distance
from invertory.metrics.semantics import average_precision, boundary_average_precision
from invertory.portraits import World
from invertory.portraits.attributes import DECIDED

PRECISION, NATIVE = "average precision", "average precision, native boundary"
FID = "FID (classifier features)"
CODES, CLIMB, SAMPLES = ("in_domain", "image2stylegan"), "to quality", "samples"
LOSS, REACHED = "loss", "reached"
GOALS = {f"the loss of {method}": method for method in CODES}  # whose loss the others must reach
NUMBERS = (budgets.SAMPLES_REAL, budgets.SAMPLES_MADE, budgets.SAMPLES_PARTS)
Columns = dict[str, Values]


def codes(
    domain: Domain, budget: Budget, boundaries: Mapping[str, Boundary], *, batch: int
) -> dict[str, Columns]:
    """In-Domain GAN inversion, section 3.2: latents of both methods as features of a classifier.

    Both methods have equal, short budgets. The columns list the precision, over attributes, of
    boundaries fitted to the true labels of one half of the latents and tested on the other half,
    and of the generator's own boundaries on all of them. The row "chance" is the share of portraits
    with the attribute.
    """
    chosen = domain.codes
    if chosen is None or not len(chosen):
        return {}
    truth = chosen.truth(DECIDED)
    found: dict[str, Columns] = {"chance": {PRECISION: truth.mean(0).double().numpy()}}
    for method in CODES:
        arm = budget.arm(method, steps=budget.code_steps)
        if domain.networks(arm) is None:
            continue
        inverted = invert(domain, arm, chosen.targets, batch=batch)
        kept, labels = inverted.w_plus[inverted.is_finite], truth[inverted.is_finite]
        own = [average_precision(kept, labels[:, i]) for i in range(len(DECIDED))]
        native = [
            boundary_average_precision(boundaries[name], kept, labels[:, i])
            if name in boundaries
            else float("nan")
            for i, name in enumerate(DECIDED)
        ]
        found[method] = {PRECISION: np.array(own), NATIVE: np.array(native)}
    return found


def to_quality(
    domain: Domain, budget: Budget, *, num: int, batch: int
) -> dict[str, dict[str, Columns]]:
    """goal => method => the time that it needs to reach the goal's loss, per image.

    Both methods run with each budget in `climb`, separately because the schedule depends on it; the
    time of an image is the shortest that reaches the loss. The goals are the losses of both methods
    after their usual steps, so that neither is favoured.
    """
    arms = {name: [budget.arm(name, steps=steps) for steps in budget.climb] for name in CODES}
    whole = domain.sets[0]
    chosen = replace(whole, targets=whole.targets[:num], portraits=whole.portraits[:num])
    if not budget.climb or any(domain.networks(a) is None for own in arms.values() for a in own):
        return {}
    climbed = {
        name: [_loss_and_seconds(domain, arm, chosen, batch) for arm in own]
        for name, own in arms.items()
    }
    usual = budget.climb.index(int(budget.common["steps"]))
    return {
        goal: {name: seconds_to(climbed[method][usual][0], climbed[name]) for name in CODES}
        for goal, method in GOALS.items()
    }


@torch.no_grad()
def samples(domain: Domain, family: Family) -> Columns:
    """Frechet distance of the generator's samples to held-out portraits, one value per part.

    The embedding of the classifier replaces that of Inception and the sets are small, so the values
    are comparable with each other only.
    """
    px = domain.sets[0].targets.shape[-1]
    real = drawn("real", budgets.SAMPLES_REAL, budgets.SAMPLES_SEED, World(), px)
    truth = Moments.of([embedding(domain, real.targets)])
    generator, found = family.generator, []
    for part in range(budgets.SAMPLES_PARTS):
        rng = torch.Generator().manual_seed(budgets.SAMPLES_SEED + 1 + part)
        z = torch.randn(budgets.SAMPLES_MADE, generator.z_dim, generator=rng)
        w = generator.mapping(z.to(domain.device))
        images = synthesised(domain, generator, w[:, None].expand(-1, generator.num_ws, -1), px)
        found.append(frechet_distance(truth, Moments.of([embedding(domain, images)])))
    return {FID: np.array(found)}


def seconds_to(goal: Values, climbed: list[tuple[Values, float]]) -> dict[str, Values]:
    """Goal losses [N]; (losses [N], seconds) of increasing budgets => the seconds per row.

    A row that no budget brings to its goal has the seconds of the longest one and `REACHED` 0.
    """
    needed = np.full(len(goal), climbed[-1][1])
    reached = np.zeros(len(goal))
    for losses, seconds in reversed(climbed):
        is_there = losses <= goal
        needed[is_there] = seconds
        reached[is_there] = 1.0
    return {SECONDS: needed, REACHED: reached, LOSS: climbed[-1][0]}


@torch.no_grad()
def _loss_and_seconds(
    domain: Domain, arm: Arm, chosen: PictureSet, batch: int
) -> tuple[Values, float]:
    """The common loss [N] of both methods, MSE plus the perceptual distance, and the seconds."""
    with torch.enable_grad():
        found = invert(domain, arm, chosen.targets, batch=batch, is_timed=True)
    made = rendered(domain, arm, found, chosen.targets.shape[-1])
    columns = measured(domain, chosen, made)
    return columns["MSE"] + columns[domain.loss.name], found.seconds
