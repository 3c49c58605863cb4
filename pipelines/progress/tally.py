"""Counts of a stage or a download, with rates and texts computed from them.

Rates are averaged since the stage began, so that they do not jump when a chunk takes a minute.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.filesize import decimal

Clock = Callable[[], float]


@dataclass(slots=True)
class Tally:
    """The counts of a stage or a download, with rates and texts."""

    name: str
    total: int | None
    unit: str = "img"  # or "B"
    start: int = 0
    clock: Clock = time.monotonic
    done: int = 0
    rejects: int = 0
    began: float = field(init=False)
    ended: float | None = None

    def __post_init__(self) -> None:
        self.began = self.clock()
        self.done = max(self.done, self.start)

    @property
    def elapsed_s(self) -> float:
        return (self.clock() if self.ended is None else self.ended) - self.began

    @property
    def rate(self) -> float | None:
        """Units per second in this run; None before the first."""
        num_new = self.done - self.start
        return num_new / self.elapsed_s if num_new and self.elapsed_s > 0 else None

    @property
    def eta_s(self) -> float | None:
        if self.total is None or not self.rate:
            return None
        return max(self.total - self.done, 0) / self.rate

    @property
    def count_text(self) -> str:
        if self.unit == "B":
            return decimal(self.done) + (f" of {decimal(self.total)}" if self.total else "")
        return f"{self.done}/{self.total}"

    @property
    def rate_text(self) -> str:
        if self.rate is None:
            return ""
        return f"{decimal(int(self.rate))}/s" if self.unit == "B" else f"{self.rate:.3g} img/s"

    @property
    def line(self) -> str:
        """A line such as "1240/5000 img, 3.1 img/s, ETA 20 min, 4 rejected"; omits unknowns."""
        count = self.count_text if self.unit == "B" else f"{self.count_text} img"
        is_done = self.ended is not None
        eta = f"ETA {duration(self.eta_s)}" if self.eta_s is not None and not is_done else ""
        elapsed = f"in {duration(self.elapsed_s)}" if is_done else ""
        rejects = f"{self.rejects} rejected" if self.rejects else ""
        return ", ".join(text for text in (count, self.rate_text, eta, elapsed, rejects) if text)

    def advance(self, rows: int, rejects: int = 0) -> None:
        self.done += rows
        self.rejects += rejects


def duration(seconds: float) -> str:
    """ "40 s", "20 min", "2 h 05 min"."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
