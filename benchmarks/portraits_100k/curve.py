"""The curve of a run: finished images per stage and the resident size, every second."""

from __future__ import annotations

import csv
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from invertory.pipelines.progress.display import Silent

METHOD = "domain_guided_encoder"
STAGES = ("images", "aligned", f"latents/{METHOD}")
COLUMNS = ("elapsed_s", "cpu_s", "rss_mb", *STAGES, "attributes")


@dataclass
class Curve(Silent):
    """Writes finished images per stage and the resident size to a CSV file, one line per second."""

    path: Path
    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS[3:], 0))
    before_s: float = 0.0  # of interrupted runs
    cpu_before_s: float = 0.0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._is_over = threading.Event()

    @contextmanager
    def stage(self, name: str, total: int, start: int = 0) -> Iterator[Any]:
        yield _Counted(self, name)

    @contextmanager
    def kept(self) -> Iterator[None]:
        is_new = not self.path.exists()
        thread = threading.Thread(target=self._keep, args=(is_new,))
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _keep(self, is_new: bool) -> None:
        with self.path.open("a", newline="") as file:
            lines = csv.writer(file)
            if is_new:
                lines.writerow(COLUMNS)
            while True:
                is_last = self._is_over.wait(1.0)
                elapsed_s = self.before_s + time.monotonic() - self._began
                counts = [self.done[name] for name in COLUMNS[3:]]
                cpu_s = self.cpu_before_s + time.process_time()
                lines.writerow(
                    [f"{elapsed_s:.1f}", f"{cpu_s:.1f}", f"{resident_mb():.1f}", *counts]
                )
                file.flush()
                if is_last:
                    return


@dataclass(frozen=True)
class _Counted:
    curve: Curve
    name: str

    def advance(self, rows: int, rejects: int = 0) -> None:
        self.curve.done[self.name] = self.curve.done.get(self.name, 0) + rows


def resident_mb() -> float:
    """The current resident size of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def read_curve(path: Path) -> list[dict[str, float]]:
    """The complete lines; an interrupted run may have left a partial one."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [{k: float(v) for k, v in line.items()} for line in lines if all(line.values())]
