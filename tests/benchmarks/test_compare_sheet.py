"""Contact sheets, where it is known which pixel belongs to which image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare.sheet import LARGE, MARGIN, SMALL, Group, Row, grouped, sheet

WHITE, BLACK = torch.ones(2, 3, 8, 8), -torch.ones(2, 3, 8, 8)
RIGHT = LARGE.name + 2 * LARGE.cell + LARGE.gap  # where a second group begins
LINE = LARGE.label + 3 * MARGIN


def group(caption: str, images: Tensor = BLACK) -> Group:
    return Group(caption, images)


def pixels(rows: list[Row]) -> np.ndarray:
    return np.asarray(grouped(rows))


def test_a_sheet_shows_each_row_at_its_place() -> None:
    image = np.asarray(sheet([("white", WHITE), ("black", BLACK)]))
    assert image.shape[:2] == (2 * SMALL.cell, SMALL.name + 2 * SMALL.cell)
    assert (image[40, SMALL.name + 40] == 255).all()
    assert (image[SMALL.cell + 40, SMALL.name + SMALL.cell + 40] == 0).all()


def test_groups_stand_side_by_side_below_their_captions() -> None:
    image = pixels([Row("a", [group("left"), group("right")])])
    assert image.shape[:2] == (LINE + LARGE.cell, RIGHT + 2 * LARGE.cell)
    assert (image[LINE + 40, [LARGE.name + 40, RIGHT + 40]] == 0).all()
    assert (image[:, RIGHT - LARGE.gap : RIGHT - 2][LINE:] == 255).all()
    for left in (LARGE.name, RIGHT):
        assert (image[:LINE, left : left + LARGE.cell] < 255).any()


def test_a_caption_is_written_once_for_rows_that_share_it() -> None:
    rows = [Row(name, [group("inverted"), group("edited")]) for name in "ab"]
    assert pixels(rows).shape[0] == LINE + 2 * LARGE.cell
    rows.append(Row("c", [group("mask"), group("edited")]))
    assert pixels(rows).shape[0] == 2 * LINE + 3 * LARGE.cell


def test_a_long_name_is_broken_where_its_column_ends() -> None:
    name = "a name of many short words that does not fit into one line"
    image = np.asarray(sheet([(name, WHITE)]))
    is_ink = np.all(image[:, : SMALL.name] < 128, axis=2)
    assert is_ink.any()
    assert not is_ink[:, SMALL.name - MARGIN :].any()
    assert len(np.flatnonzero(np.diff(is_ink.any(1).astype(int)) == 1)) > 1  # lines


def test_a_sheet_of_nothing_is_empty() -> None:
    assert sheet([]).size == (SMALL.name, 0)
