"""Contact sheets with a row per method, for plain portraits and for portraits with objects.

The sheet of portraits with objects has inversions and edits side by side, and the maps of methods
that have some below them in the same columns: masks and invertibility, white for 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from torch import Tensor

from benchmarks.compare.rows import SHOWN, shown_rows
from benchmarks.compare.sheet import Group, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.compare.bench import Bench
    from benchmarks.compare.budgets import Arm
    from benchmarks.compare.domains import PictureSet
    from benchmarks.compare.store import Kept

Plain = tuple[str, Tensor]
TRUE_MASKS: Final = "where the objects are"
MAPS: Final = {  # captions of maps
    "invertibility": "invertibility: white where W+ suffices",
    "spaces": "chosen space: black W+, white the finest",
    "mask": "mask: white where the target is kept",
}


def plain_rows(bench: Bench, arms: list[Arm], kept: Mapping[str, Kept]) -> list[Plain]:
    """The first set: inversions, then edits of the portraits that lack an attribute."""
    chosen = bench.domain.sets[0]
    shown = [arm for arm in arms if arm.name in kept]
    title = "portraits" if chosen.portraits else chosen.name
    rows = [(title, chosen.targets[shown_rows(chosen)])]
    rows += [(arm.name, kept[arm.name].pictures[chosen.name]) for arm in shown]
    attribute = next((k.notes["edited"] for k in kept.values() if "edited" in k.notes), None)
    if attribute is None:
        return rows
    edited = bench.lacking(chosen, attribute)
    rows.append((f"lacks {attribute}", chosen.targets[edited.rows[:SHOWN]]))
    rows.append((f"true {attribute}", edited.changed[:SHOWN]))
    return rows + [
        (f"{arm.name}: + {attribute}", kept[arm.name].pictures[f"{chosen.name}/edited"])
        for arm in shown
        if kept[arm.name].notes.get("edited") == attribute
    ]


def object_rows(chosen: PictureSet, arms: list[Arm], kept: Mapping[str, Kept]) -> list[Row]:
    """A set with objects: targets and true masks, inversions and edits, then maps."""
    if chosen.objects is None or not len(chosen):
        return []
    shown, rows = [arm.name for arm in arms if arm.name in kept], shown_rows(chosen)
    true = Group(TRUE_MASKS, chosen.objects[rows].expand(-1, 3, -1, -1) * 2 - 1)
    found = [Row("portraits with objects", [Group("pictures", chosen.targets[rows]), true])]
    found += [Row(name, list(_made(chosen.name, kept[name]))) for name in shown]
    for name in shown:
        maps = list(_maps(chosen.name, kept[name]))
        maps += [true] if len(maps) % 2 else []
        pairs = zip(maps[::2], maps[1::2], strict=True)
        found += [Row(name, pair) for pair in pairs]
    return found


def _made(where: str, kept: Kept) -> Iterator[Group]:
    """The inversions of an arm, and their edits if it has any."""
    yield Group("inverted", kept.pictures[where])
    if (edited := kept.pictures.get(f"{where}/edited")) is not None:
        yield Group(f"edited: + {kept.notes['edited']}", edited)


def _maps(where: str, kept: Kept) -> Iterator[Group]:
    for name, images in kept.pictures.items():
        part, _, word = name.rpartition("/")
        if part == where and word != "edited":
            yield Group(MAPS.get(word, word), images)
