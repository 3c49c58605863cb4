"""Contact sheets: a row of pictures for every method, of plain portraits and of ones with objects.

Beside the pictures with objects stand their maps: masks and invertibility, white for 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.compare.rows import SHOWN, shown_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.compare.bench import Bench
    from benchmarks.compare.budgets import Arm
    from benchmarks.compare.domains import PictureSet
    from benchmarks.compare.store import Kept

Row = tuple[str, Tensor]


def plain_rows(bench: Bench, arms: list[Arm], kept: Mapping[str, Kept]) -> list[Row]:
    """The first set: what was inverted, then the edit of what lacks its attribute."""
    chosen = bench.domain.sets[0]
    shown = [arm for arm in arms if arm.name in kept]
    rows = [("portraits" if chosen.portraits else chosen.name, chosen.targets[shown_rows(chosen)])]
    rows += [(arm.name, kept[arm.name].pictures[chosen.name]) for arm in shown]
    attribute = next((k.told["edited"] for k in kept.values() if "edited" in k.told), None)
    if attribute is None:
        return rows
    edited = bench.lacking(chosen, attribute)
    rows.append((f"lacks {attribute}", chosen.targets[edited.rows[:SHOWN]]))
    rows.append((f"true {attribute}", edited.changed[:SHOWN]))
    return rows + [
        (f"{arm.name}: + {attribute}", kept[arm.name].pictures[f"{chosen.name}/edited"])
        for arm in shown
        if kept[arm.name].told.get("edited") == attribute
    ]


def object_rows(chosen: PictureSet, arms: list[Arm], kept: Mapping[str, Kept]) -> list[Row]:
    """A set with objects: the true masks, then inversions, their edits, and maps beside."""
    if chosen.objects is None or not len(chosen):
        return []
    rows = shown_rows(chosen)
    true = chosen.objects[rows].expand(-1, 3, -1, -1) * 2 - 1
    found = [("objects: pictures, their masks", _beside([chosen.targets[rows], true]))]
    for arm in (arm for arm in arms if arm.name in kept):
        pictures, told = kept[arm.name].pictures, kept[arm.name].told
        parts, names = [pictures[chosen.name]], [arm.name]
        if f"{chosen.name}/edited" in pictures:
            parts.append(pictures[f"{chosen.name}/edited"])
            names.append(f"+ {told['edited']}")
        maps = [name for name in pictures if name.startswith(f"{chosen.name}/")]
        for name in (name for name in maps if not name.endswith("/edited")):
            parts.append(pictures[name])
            names.append(name.rpartition("/")[2])
        found.append((", ".join(names), _beside(parts)))
    return found


def _beside(parts: list[Tensor]) -> Tensor:
    """Groups of pictures in one row, a white cell between them."""
    gap = torch.ones_like(parts[0][:1])
    joined = [x for part in parts for x in (part, gap)]
    return torch.cat(joined[:-1])
