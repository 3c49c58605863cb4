"""The blocks of a page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare import page, report
from benchmarks.compare.evidence import Verdict
from benchmarks.compare.page import fill, filled
from benchmarks.compare.results import Results

VERDICTS = {"A: good": Verdict(True, "MSE: 1 against 2"), "B: bad": Verdict(None, "no x")}


def results() -> Results:
    found = Results()
    found.put("portraits", report.ITSELF, {"SSIM": np.ones(2)})
    found.put("portraits", "pti", {"SSIM": np.array([0.5, 0.7]), "state (bytes)": np.full(2, 3456)})
    found.put("portraits_ood", "pti", {"PSNR (dB)": np.array([20.0])})
    return found


def test_a_method_has_its_figures_and_dashes_where_there_are_none() -> None:
    lines = page.methods_table(["absent", "pti"], results())
    assert len(lines) == 5
    assert lines[3] == "| `pti` | - | 0.6 ± 0.14 | - | - | - | - | 20 | 3.5 | - |"


def test_blocks_are_replaced_and_the_rest_is_left(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    blocks = "".join(f"<!-- compare: {n} -->\nold\n<!-- compare: end -->\n" for n in page.BLOCKS)
    path.write_text(f"before\n{blocks}after\n")
    fill(path, ["pti"], results(), VERDICTS)
    once = path.read_text()
    assert once.startswith("before\n<!-- compare: methods -->\n\n| method |")
    assert once.endswith("<!-- compare: end -->\nafter\n")
    assert "| A: good | **held** |" in once
    assert "1 held, 0 not held, 1 not tested" in once
    assert "old" not in once
    fill(path, ["pti"], results(), VERDICTS)
    assert path.read_text() == once


def test_a_file_without_the_block_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "results.md"
    path.write_text("<!-- compare: methods -->\n<!-- compare: end -->\n")
    with pytest.raises(ValueError, match="expected one block 'claims'"):
        fill(path, ["pti"], results(), VERDICTS)
    assert path.read_text().count("\n") == 2
    with pytest.raises(ValueError, match="got 0"):
        filled("", "methods", "x", "results.md")
