"""Holm's correction, against values worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.compare.evidence import Verdict
from benchmarks.compare.holm import adjusted, corrected, is_lost
from benchmarks.compare.report import verdict_rows

RECORDED = Path(__file__).parents[2] / "docs" / "compare" / "portraits.json"


def test_adjusted_values_are_holms() -> None:
    # 0.01 x 4; 0.02 x 3; 0.03 x 2, and not below the one before; 0.04
    assert adjusted([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert adjusted([0.6, 0.7]) == [1.0, 1.0]
    assert adjusted([]) == []


def test_no_true_null_is_rejected_more_often_than_the_level() -> None:
    rng = np.random.default_rng(0)
    some = [min(adjusted(rng.uniform(size=20))) < 0.05 for _ in range(2000)]
    assert 0.03 < np.mean(some) < 0.065


def test_a_verdict_that_the_correction_takes_says_so() -> None:
    verdicts = {
        "sure": Verdict(True, "x", p=1e-6),
        "weak": Verdict(True, "y", p=0.04),
        "failed": Verdict(False, "z", note="why", p=1.0),
        "looked at": Verdict(True, "a price"),
        "absent": Verdict(None, "no arm"),
    }
    found = corrected(verdicts)
    assert [found[name].is_held for name in verdicts] == [True, False, False, True, None]
    assert found["sure"].p_holm == pytest.approx(3e-6)
    assert found["weak"].p_holm == pytest.approx(0.08)
    assert [name for name, verdict in found.items() if is_lost(verdict)] == ["weak"]
    assert "| y; held before the correction | 0.08 |" in verdict_rows(found)[3]
    assert found["failed"].note == "why"
    assert corrected(found) == found


def test_a_test_that_decides_two_claims_is_named() -> None:
    verdicts = {"first": Verdict(True, "same", p=1e-6), "second": Verdict(True, "same", p=1e-6)}
    rows = verdict_rows(corrected(verdicts))
    assert rows[2] == "| first | **held** | same | 2e-06 |"
    assert rows[3] == "| second | **held** | same; the same test decides “first” | 2e-06 |"


def test_the_recorded_verdicts_are_the_corrected_ones() -> None:
    claims = json.loads(RECORDED.read_text("utf-8"))["claims"]
    tested = {text: claim for text, claim in claims.items() if "p" in claim}
    assert len(tested) >= len(claims) - 1  # one is a price, not a test
    for claim, p_holm in zip(
        tested.values(), adjusted([claim["p"] for claim in tested.values()]), strict=True
    ):
        assert claim["p_holm"] == pytest.approx(p_holm, rel=1e-4)
        assert claim["verdict"] == ("held" if p_holm < 0.05 else "not held")
