from __future__ import annotations

import math

import numpy as np
import torch

from benchmarks.compare.drawing import (
    CELL_PX,
    NAME_PX,
    Axis,
    Panel,
    Point,
    plot,
    sheet,
    ticks,
)
from benchmarks.compare.report import _table, cell
from benchmarks.compare.results import Results
from invertory.metrics.spread import Spread, spread_of


def test_a_cell_has_the_mean_and_the_deviation() -> None:
    assert cell(spread_of([1.0, 3.0])) == "2 ± 1.4"
    assert cell(spread_of([2.5])) == "2.5"
    assert cell(spread_of([math.nan])) == "-"


def test_a_table_has_an_arm_a_row_and_its_n() -> None:
    results = Results()
    results.put("set", "a", {"MSE": np.array([1.0, 3.0]), "seconds": np.array([0.5])})
    results.put("set", "b", {"MSE": np.array([1.0, math.nan])})
    lines = _table(results.parts["set"], results.measures("set"))
    assert lines[0] == "| | MSE | seconds | n |"
    assert lines[2] == "| a | 2 ± 1.4 | 0.5 | 2 |"
    assert lines[3] == "| b | 1 |  | 1 |"


def test_ticks_are_round_and_within() -> None:
    assert ticks(0.0, 1.0, is_log=False) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(-2.0, 0.0, is_log=True) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]


def test_a_point_is_drawn_where_its_means_are() -> None:
    low, high = Spread(4, 1.0, 0.1, 1.0, 1.0), Spread(4, 2.0, 0.1, 2.0, 2.0)
    points = [Point("a", low, high), Point("b", high, low)]
    image = plot([Panel("both", Axis("x"), Axis("y"), points)], (400, 300))
    pixels = np.asarray(image)[52:248, 70:382]
    first = np.argwhere((pixels == (31, 119, 180)).all(2)).mean(0)
    second = np.argwhere((pixels == (214, 39, 40)).all(2)).mean(0)
    assert first[0] < second[0]  # higher up
    assert first[1] < second[1]  # further left


def test_a_plot_of_nothing_says_so() -> None:
    image = plot([Panel("none", Axis("x"), Axis("y"), [])])
    assert len(image.getcolors() or []) > 1


def test_a_sheet_shows_each_row_at_its_place() -> None:
    white, black = torch.ones(2, 3, 8, 8), -torch.ones(2, 3, 8, 8)
    image = np.asarray(sheet([("white", white), ("black", black)]))
    assert image.shape[0] == 2 * CELL_PX
    assert (image[40, NAME_PX + 40] == 255).all()
    assert (image[CELL_PX + 40, NAME_PX + CELL_PX + 40] == 0).all()
