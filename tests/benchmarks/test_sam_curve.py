"""The curve of SAM on the toy of a bench: its rows, its arms and its image."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from benchmarks import sam_curve
from benchmarks.compare.budgets import PORTRAITS
from benchmarks.sam_report import HEADER, Row, plot
from invertory.inversion.sam.optimisation import SpatiallyAdaptive

SVG = "{http://www.w3.org/2000/svg}"


def row(name: str, steps: int, loss: float, seconds: float) -> Row:
    return Row(name, steps, loss, 25.0, 20.0, seconds, 0, 1.5, -0.1, 14.0)


class Recorded:
    """Stands in for a bench: says what it was asked for."""

    def row(self, name: str, method: object, steps: int, direction: object) -> tuple[object, ...]:
        return name, method, steps


BENCH: Any = Recorded()
NOWHERE = torch.zeros(1)


def test_a_row_has_a_cell_for_every_head() -> None:
    heads, _ = HEADER.splitlines()
    assert str(row("sam", 12, 0.3, 0.5)).count("|") == heads.count("|")
    assert "| e4e | - |" in str(row("e4e", 0, 0.3, 0.5))


def test_other_methods_take_as_many_steps_in_all_or_one_pass() -> None:
    found: Any = list(sam_curve.others(BENCH, ["hybrid", "pti", "e4e"], [12, 25], NOWHERE))
    assert [(name, steps) for name, _, steps in found] == [
        ("hybrid", 12), ("hybrid", 25), ("pti", 12), ("pti", 25), ("e4e", 0),
    ]  # fmt: skip
    for name, method, steps in found:
        if name == "pti":
            assert method.steps + method.pivot_steps == steps
        elif steps:
            assert method.steps == steps


def test_no_regulariser_is_what_the_comparison_means_by_it() -> None:
    rows: Any = sam_curve.ablations(BENCH, 9, NOWHERE)
    found = {name: method for name, method, _ in rows}
    compared = {arm.name: arm for arm in PORTRAITS.arms()}["sam, no regulariser"].build()
    assert found["no regulariser"].terms == compared.terms == ("mse", "perceptual")  # type: ignore[attr-defined]
    assert found["no feature term"].terms == ("mse", "perceptual", "prior", "variation")
    assert found["preset paper"].preset == "paper"


def test_edits_by_section_3_4_are_those_of_the_paper_where_there_are_two_ways() -> None:
    assert sam_curve._strict(SpatiallyAdaptive()).preset == "paper"  # type: ignore[attr-defined]
    other = sam_curve.method_at("hybrid", 3)
    assert sam_curve._strict(other) is other


def test_faster_is_further_left_and_better_further_down() -> None:
    rows = [row("sam", 12, 0.5, 0.1), row("sam", 25, 0.3, 0.4), row("e4e", 0, 0.9, 0.01)]
    drawn = ElementTree.fromstring(plot(rows))
    lines = drawn.findall(f"{SVG}polyline")
    assert len(lines) == 1  # one row is a point
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in lines[0].attrib["points"].split())
    assert x0 < x1
    assert y0 < y1  # downwards
    alone = drawn.findall(f"{SVG}circle")[-2]  # before its legend
    assert float(alone.attrib["cx"]) == pytest.approx(60)
    assert float(alone.attrib["cy"]) == pytest.approx(60)
    labels = {text.text for text in drawn.findall(f"{SVG}text")}
    assert {"sam", "e4e"} <= labels
