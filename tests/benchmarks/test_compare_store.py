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
    assert found.told == {"a": "b"}
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
    """A bench of no more than a domain without pictures."""
    return SimpleNamespace(domain=SimpleNamespace(absent={}, sets=()))


def test_a_unit_that_fails_is_told_and_hinders_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> Kept:
        raise ValueError("no such space")

    units = [Unit("bad", {}, fail), Unit("good", {}, kept)]
    bench = bare()
    found = units_run(bench, units, Store(tmp_path))
    assert list(found) == ["good"]
    assert bench.domain.absent["bad"] == "ValueError: no such space"
    assert "bad: failed" in capsys.readouterr().err


def test_parts_are_merged_from_arms_and_analyses() -> None:
    analysis = Kept({"samples|portraits_generator": {"FID": np.ones(4)}})
    results = results_of(bare().domain, {"sam": kept()}, {"samples": analysis})
    assert results.get("edit/boundary", "sam", "t").tolist() == [1, 1, 1]
    assert results.get("samples", "portraits_generator", "FID").tolist() == [1] * 4
