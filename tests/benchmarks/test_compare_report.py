from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.compare.budgets import REDRAWN_AS
from benchmarks.compare.drawing import Axis, Panel, Point, plot, ticks
from benchmarks.compare.editability import LEC
from benchmarks.compare.evidence import Verdict
from benchmarks.compare.report import _table, as_json, as_markdown, cell, spread_in
from benchmarks.compare.results import PICTURE, Results
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


def bare() -> Any:
    loss = SimpleNamespace(name="pixels")
    failed = {"sam": "ValueError: no | such\n space"}
    absent = {"pti": "expected a file"}
    return SimpleNamespace(name="x", loss=loss, sets=(), device="cpu", absent=absent, failed=failed)


def test_a_claim_has_one_line_and_its_details_below() -> None:
    verdicts = {
        "A: good": Verdict(True, "MSE: 1 against 2", ("MSE: 1 ± 0.1 against 2 ± 0.1", "t: 3")),
        "B: unknown": Verdict(None, "b: no MSE of x"),
    }
    text = as_markdown(bare(), Results(), verdicts, {})
    table, details = text.split("### Claims in detail")
    assert "| A: good | **held** | MSE: 1 against 2 |  |" in table
    assert "1 held, 0 not held, 1 not tested" in table
    assert "**A: good**: held\n\n- MSE: 1 ± 0.1 against 2 ± 0.1\n- t: 3\n" in details
    assert "**B: unknown**: not tested\n\n- b: no MSE of x\n" in details


def test_why_a_claim_is_not_held_stands_beside_its_verdict() -> None:
    noted = {"A: bad": Verdict(False, "MSE: 2 against 1", note="The hinge pins it.")}
    noted |= {"B: bad": Verdict(False, "t: 1 against 2")}
    text = as_markdown(bare(), Results(), noted, {})
    assert "| A: bad | **not held** | MSE: 2 against 1. The hinge pins it. |  |" in text
    assert "| B: bad | **not held** | t: 1 against 2 |  |" in text
    told = json.loads(as_json(bare(), [], Results(), noted, {}))["claims"]
    assert told["A: bad"]["note"] == "The hinge pins it."
    assert "note" not in told["B: bad"]


def test_edits_that_are_drawn_once_more_say_how() -> None:
    results = Results()
    for part in ("edit/boundary", f"edit/boundary{REDRAWN_AS}"):
        results.put(part, "sam", {"t": np.ones(2)})
    plain, redrawn = as_markdown(bare(), results, {}, {}).split(f"## edit/boundary{REDRAWN_AS}")
    assert "`preset: paper`" not in plain
    assert "`preset: paper`" in redrawn


def test_what_failed_has_a_table_of_its_own() -> None:
    text = as_markdown(bare(), Results(), {}, {})
    failed, absent = text.split("## Not at hand")
    assert "## Failed\n\n| method | reason |\n|---|---|\n" in failed
    assert "| sam | ValueError: no \\| such space |" in failed
    assert "pti" in absent
    assert "sam" not in absent


def test_the_json_has_details_and_no_numbers_of_pictures() -> None:
    results = Results()
    results.put("edit/boundary", "a", {"t": np.ones(3), PICTURE: np.arange(3.0)})
    told = json.loads(as_json(bare(), [], results, {"A": Verdict(True, "x", ("y",))}, {}))
    assert list(told["parts"]["edit/boundary"]["a"]) == ["t"]
    assert told["claims"]["A"] == {"verdict": "held", "deciding": "x", "details": ["y"]}
    assert told["failed"] == {"sam": "ValueError: no | such\n space"}


def test_lec_is_told_without_its_extremes() -> None:
    values = np.array([0.0, *[1.0] * 98, 1000.0, math.nan])
    assert spread_in(f"{LEC}/smile", values).mean == 1
    assert spread_in("ECS", values).mean > 10
    assert spread_in(LEC, np.array([math.nan])).n == 0


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
