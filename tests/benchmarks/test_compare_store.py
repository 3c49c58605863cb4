"""What was measured is kept, and found again by what decides it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.compare.running import Unit, results_of, units_run
from benchmarks.compare.store import Kept, Store, digest_of, read, write


def kept() -> Kept:
    columns = {"portraits": {"MSE": np.array([0.5, np.nan])}, "edit/boundary": {"t": np.ones(3)}}
    return Kept(columns, {"portraits": torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1)}, {"a": "b"})


def test_a_unit_comes_back_as_it_was(tmp_path: Path) -> None:
    write(kept(), tmp_path / "x.npz")
    found = read(tmp_path / "x.npz")
    np.testing.assert_array_equal(found.columns["portraits"]["MSE"], [0.5, np.nan])
    assert found.columns["edit/boundary"]["t"].tolist() == [1, 1, 1]
    assert found.notes == {"a": "b"}
    torch.testing.assert_close(
        found.pictures["portraits"].flatten(), torch.tensor([-1.0, 0, 1]), atol=0.005, rtol=0
    )
    assert [path.name for path in tmp_path.iterdir()] == ["x.npz"]


def test_a_unit_is_made_once_and_again_where_something_else_decides(tmp_path: Path) -> None:
    store, made = Store(tmp_path), []

    def make() -> Kept:
        made.append(1)
        return kept()

    store.kept("sam", {"steps": 40}, make)
    store.kept("sam", {"steps": 40}, make)
    assert len(made) == 1
    store.kept("sam", {"steps": 50}, make)
    store.kept("samm", {"steps": 40}, make)
    Store(tmp_path, is_fresh=True).kept("sam", {"steps": 40}, make)
    assert len(made) == 4


def test_weights_decide() -> None:
    one, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert digest_of(one) != digest_of(other)
    other.load_state_dict(one.state_dict())
    assert digest_of(one) == digest_of(other)


def bare() -> Any:
    """A bench of no more than a domain without images."""
    return SimpleNamespace(domain=SimpleNamespace(absent={}, failed={}, sets=()))


@pytest.mark.parametrize("error", [ValueError("no such space"), KeyError("no such space")])
def test_a_unit_that_fails_is_told_and_hinders_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail() -> Kept:
        raise error

    units = [Unit("bad", {}, fail), Unit("good", {}, kept)]
    bench = bare()
    found = units_run(bench, units, Store(tmp_path))
    assert list(found) == ["good"]
    assert bench.domain.absent == {}
    assert bench.domain.failed["bad"].startswith(f"{type(error).__name__}: ")
    shown = capsys.readouterr().err
    assert "bad: failed" in shown
    assert "Traceback" in shown


def test_a_unit_whose_code_changed_is_measured_anew_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = {"parameters": {"steps": 40}, "code": {"a.py": "1", "b.py": "1"}}
    for key, how in (
        (old, "sam: measured"),
        (old, "sam: kept"),
        ({**old, "code": {"a.py": "2", "b.py": "1"}}, "sam: measured again, changed: code: a"),
        ({**old, "parameters": {"steps": 50}}, "parameters: steps (40 before, 50 now)"),
        (old, "sam: kept"),
    ):
        units_run(bare(), [Unit("sam", key, kept)], Store(tmp_path))
        shown = capsys.readouterr().err
        assert how in shown
        assert shown.count("\n") == (2 if "now" in how or "again" in how else 1)


def test_a_file_that_does_not_say_what_decided_it_is_stale(tmp_path: Path) -> None:
    np.savez(tmp_path / "sam-0123456789abcdef.npz", told=np.array("{}"))
    assert Store(tmp_path).stale("sam", {"steps": 40}) == "the file's form"
    assert Store(tmp_path).stale("samm", {"steps": 40}) == ""


def test_parts_are_merged_from_arms_and_analyses() -> None:
    analysis = Kept({"samples|portraits_generator": {"FID": np.ones(4)}})
    results = results_of(bare().domain, {"sam": kept()}, {"samples": analysis})
    assert results.get("edit/boundary", "sam", "t").tolist() == [1, 1, 1]
    assert results.get("samples", "portraits_generator", "FID").tolist() == [1] * 4
