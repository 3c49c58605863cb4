"""A disk that is full after so many bytes: ENOSPC from the write that would not fit.

Python's own files are counted: all that the store, the sets and the cache write. SQLite writes
Dagster's databases past them.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import random
import re
from pathlib import Path
from typing import Any

from benchmarks.chaos.place import Place, invertory
from benchmarks.chaos.trials import Tally, Trials

CLEAR = re.compile("no space left|full disk", re.IGNORECASE)
opened = io.open


class Disk:
    """What is left of a disk, in bytes."""

    def __init__(self, left_bytes: float) -> None:
        self.left_bytes = left_bytes
        self.used_bytes = 0

    def open(
        self,
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        """`open` on this disk; what is only read, and descriptors, go the usual way."""
        if isinstance(file, int) or not set(mode) & set("wxa+"):
            return opened(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = _File(self, file, re.sub("[bt]", "", mode), opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def take(self, num_bytes: int, name: Any) -> None:
        if num_bytes > self.left_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(name))
        self.left_bytes -= num_bytes
        self.used_bytes += num_bytes


class _File(io.FileIO):
    def __init__(self, disk: Disk, file: Any, mode: str, opener: Any) -> None:
        super().__init__(file, mode, opener=opener)
        self._disk = disk

    def write(self, data: Any) -> int:
        self._disk.take(memoryview(data).nbytes, self.name)
        return super().write(data)


def fill_disks(trials: Trials, num: int, seed: int) -> Tally:
    """`num` disks of random sizes below what a run writes: rc 1, a clear line, then all equal."""
    rng, tally = random.Random(seed), Tally("full disk", f"--full-disks {num}")
    needed_bytes = _needed_bytes(trials) if num else 0
    for number in range(num):
        with trials.trial(tally, f"full-{number:04d}") as place:
            code = _run_on(place, Disk(rng.uniform(0, 0.98 * needed_bytes)))
            problems = []
            if code != 1 or not CLEAR.search(place.said()):
                problems.append(f"{place.folder.name}: expected exit code 1 and a line about the "
                                f"full disk, got {code}: {place.said()}")  # fmt: skip
            tally.add(1, problems or trials.problems_of(place, place.run(), trials.reference))
    return tally


def _run_on(place: Place, disk: Disk) -> int | None:
    return place.start(lambda: _with_disk(disk)).wait()


def _with_disk(disk: Disk) -> int:
    builtins.open = io.open = disk.open
    code = invertory("run", "toy.yaml", "--json")
    builtins.open = io.open = opened
    Path("used_bytes.txt").write_text(str(disk.used_bytes))
    return code


def _needed_bytes(trials: Trials) -> int:
    """What a whole run writes."""
    place = trials.place("needed")
    if _run_on(place, Disk(float("inf"))) != 0:
        raise RuntimeError(place.said())
    return int((place.folder / "used_bytes.txt").read_text())
