"""Harm at random: a little of it here, all of it by the command that docs/chaos.md names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def harm(folder: Path, *arguments: str) -> list[dict[str, str]]:
    """The rows of the last table; fails where anything was lost or unnoticed."""
    command = [sys.executable, "-m", "benchmarks.chaos", *arguments, "--work", str(folder / "work")]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [re.split(r" *\| *", line.strip("| ")) for line in done.stdout.splitlines() if line]
    heads = [number for number, line in enumerate(lines) if line[0] == "fault"]
    return [dict(zip(lines[n], lines[n + 2], strict=False)) for n in heads]


def test_a_kill_and_some_flipped_bits_leave_equal_tables(tmp_path):
    rows = harm(tmp_path, "--kills", "1", "--flips", "25", "--seed", "1")
    assert [(row["fault"], row["tried"], row["lost"]) for row in rows] == [
        ("bit flip", "25", "0"),
        ("kill -9", "1", "0"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [("--kills", "40"), ("--races", "12"), ("--flips", "1000"),
                                  ("--outages", "4"), ("--full-disks", "10")])  # fmt: skip
def test_nothing_is_lost(tmp_path, kind):
    rows = harm(tmp_path, *kind, "--seed", "2")
    assert sum(int(row["tried"]) for row in rows) >= int(kind[1])
    assert {row["lost"] for row in rows} == {"0"}
