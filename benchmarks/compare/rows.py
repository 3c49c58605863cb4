"""One row of the comparison: all measures of an arm, and its images for the sheets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.compare import budgets, editability, objects
from benchmarks.compare.bench import is_cycled
from benchmarks.compare.reconstruction import (
    SECONDS,
    STATE,
    Inverted,
    invert,
    measured,
    rendered,
    state_bytes,
    without_rejects,
)
from benchmarks.compare.store import Kept

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.compare.bench import Bench
    from benchmarks.compare.budgets import Arm
    from benchmarks.compare.domains import PictureSet
    from benchmarks.compare.editors import Move
    from benchmarks.compare.results import Values

REJECTS, OOD_EDITS = "rejects", "edit/objects"
SHOWN, SHOWN_OBJECTS = 8, 6  # images in a row of the sheets
KINDS_SHOWN = ("hat", "mask", "microphone")


def measure(bench: Bench, arm: Arm) -> Kept:
    """Measure the reconstructions and edits of every set; keep columns and images."""
    kept = Kept()
    for chosen in bench.domain.sets:
        if len(chosen):
            found, made = reconstructed(bench, arm, chosen, kept)
            if bench.has_edits:
                edit(bench, arm, chosen, found, made, kept)
    return kept


def reconstructed(
    bench: Bench, arm: Arm, chosen: PictureSet, kept: Kept
) -> tuple[Inverted, Tensor]:
    """Invert a set, and measure and keep its reconstructions."""
    domain, px = bench.domain, chosen.targets.shape[-1]
    found = invert(domain, arm, chosen.targets, batch=bench.work.batch, is_timed=True)
    made = rendered(domain, arm, found, px)
    columns = measured(domain, chosen, made)
    is_ood = chosen.objects is not None and bool(chosen.objects.any())
    if is_ood:
        assert chosen.objects is not None
        columns |= objects.errors(made, chosen.targets, chosen.objects)
        if objects.MASK in found.maps:
            columns |= objects.masked(found.maps[objects.MASK], chosen.objects)
    columns |= {STATE: state_bytes(found)}
    rejects = float((~found.is_finite).sum())
    own = {SECONDS: np.array([found.seconds]), REJECTS: np.array([rejects])}
    kept.columns[chosen.name] = without_rejects(columns, found.is_finite) | own
    rows = shown_rows(chosen)
    kept.pictures[chosen.name] = made[rows]
    for name, maps in found.maps.items():
        kept.pictures[f"{chosen.name}/{name}"] = _as_images(maps[rows], px)
    return found, made


def edit(
    bench: Bench, arm: Arm, chosen: PictureSet, found: Inverted, made: Tensor, kept: Kept
) -> None:
    """Edit with both editors; images with objects and most ablations with boundaries only.

    For methods in `budgets.REDRAWN`, draw the edits by boundaries again, as a separate part.
    """
    editors = bench.editors(bench.domain.family(arm))
    is_first = chosen is bench.domain.sets[0]
    for editor, moves in editors.moves.items():
        if editor != "boundary" and not (is_first and is_cycled(arm)):
            continue
        part = f"edit/{editor}" if is_first else OOD_EDITS
        columns = scored(bench, arm, chosen, found, made, moves)
        if is_first and is_cycled(arm):
            columns |= cycled(bench, arm, found, moves, budgets.CYCLES[editor])
        _keep(kept, part, columns)
        if editor == "boundary" and arm.redrawn:
            columns = scored(bench, arm.redrawn, chosen, found, made, moves)
            _keep(kept, part + budgets.REDRAWN_AS, columns)
    if attribute := next(iter(editors.boundaries), None):
        kept.notes["edited"] = attribute
        few = found.rows(_edited_rows(bench, chosen, attribute))
        w_plus = editors.moves["boundary"][attribute](few.w_plus, budgets.EDIT_STEP)
        px = chosen.targets.shape[-1]
        drawn = rendered(bench.domain, arm, few, px, w_plus=w_plus)
        kept.pictures[f"{chosen.name}/edited"] = drawn


def scored(
    bench: Bench,
    arm: Arm,
    chosen: PictureSet,
    found: Inverted,
    made: Tensor,
    moves: Mapping[str, Move],
) -> dict[str, Values]:
    """The edits of all attributes, as the arm draws them."""
    columns: dict[str, Values] = {}
    for name, move in moves.items():
        lacking = bench.lacking(chosen, name)
        columns |= editability.scored_edit(
            bench.domain, arm, chosen, found, made, lacking, move, bench.real()
        )
    return columns


def cycled(
    bench: Bench, arm: Arm, found: Inverted, moves: Mapping[str, Move], names: Sequence[str]
) -> dict[str, Values]:
    """Invert edits of the first set again, for the given attributes."""
    columns: dict[str, Values] = {}
    num, batch = bench.cycles(arm), bench.work.batch
    for name in (name for name in names if name in moves):
        lacking = bench.lacking(bench.domain.sets[0], name)
        columns |= editability.cycled(
            bench.domain, arm, found, lacking, moves[name], num=num, batch=batch
        )
    return columns


def shown_rows(chosen: PictureSet) -> Tensor:
    """Rows for the sheet: the first ones, or each kind of object in turn."""
    if chosen.objects is None or not bool(chosen.objects.any()):
        return torch.arange(min(SHOWN, len(chosen)))
    each = SHOWN_OBJECTS // len(KINDS_SHOWN)
    return torch.tensor([row for kind in KINDS_SHOWN for row in _of_kind(chosen, kind, each)])


def _of_kind(chosen: PictureSet, kind: str, most: int) -> list[int]:
    """Rows with an object of the kind, one of each variant before a second of any.

    Thus both masks over the mouth and masks around the eyes are shown.
    """
    variants: dict[int, list[int]] = {}
    for row, person in enumerate(chosen.portraits):
        for thing in (thing for thing in person.ood if thing.kind == kind):
            variants.setdefault(thing.variant, []).append(row)
    found = sorted((place, row) for rows in variants.values() for place, row in enumerate(rows))
    return [row for _, row in found[:most]]


def _edited_rows(bench: Bench, chosen: PictureSet, attribute: str) -> Tensor:
    """Rows whose edits the sheet shows; in the first set those that lack the attribute."""
    if chosen is bench.domain.sets[0]:
        return bench.lacking(chosen, attribute).rows[:SHOWN]
    return shown_rows(chosen)


def _as_images(maps: Tensor, px: int) -> Tensor:
    """Maps [n, 1, h, w] in [0, 1] => images [n, 3, px, px] in [-1, 1]."""
    sized = interpolate(maps, (px, px), mode="bilinear") if maps.shape[-1] != px else maps
    return sized.expand(-1, 3, -1, -1) * 2 - 1


def _keep(kept: Kept, part: str, columns: Mapping[str, Values]) -> None:
    if columns:
        kept.columns[part] = editability.joined(columns)
