"""Show the progress of a stage: bars in a terminal, lines in a log, or nothing.

A stage counts its inputs, a download its bytes.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TaskID
from rich.progress import Progress as Bars
from rich.table import Column
from rich.text import Text

from invertory.pipelines.progress.tally import Clock, Tally, duration

Received = Callable[[str, int, int | None], None]  # file name, bytes so far, total bytes or None

_Bytes = Callable[[int, int | None], None]  # bytes so far, total bytes or None

EVERY_S: Final = 10.0


class Bar(Protocol):
    """The progress of one stage."""

    def advance(self, rows: int, rejects: int = 0) -> None:
        """Add `rows` finished inputs, `rejects` of which gave no output."""
        ...


class Progress(Protocol):
    """A display for the progress of stages and downloads."""

    def stage(self, name: str, total: int, start: int = 0) -> AbstractContextManager[Bar]:
        """Open a bar for `total` inputs, of which an earlier run finished the first `start`."""
        ...

    def download(self, name: str) -> AbstractContextManager[Received]:
        """Open a group of downloads named `name`; each file gets its own line."""
        ...

    def note(self, text: str) -> None:
        """Show a message."""
        ...


class LogProgress:
    """Writes a line every few seconds with `say`: a logger's `info`, or `print`."""

    def __init__(
        self,
        say: Callable[[str], object],
        *,
        every_s: float = EVERY_S,
        clock: Clock = time.monotonic,
    ) -> None:
        self._say, self._every_s, self._clock = say, every_s, clock

    @contextlib.contextmanager
    def stage(self, name: str, total: int, start: int = 0) -> Iterator[Bar]:
        tally = Tally(name, total, start=start, clock=self._clock)
        if start:
            self._say(f"{name}: resuming after {start} of {total} img")
        with self._reported(tally):
            yield _LogBar(tally, self._say, self._every_s)

    def download(self, name: str) -> AbstractContextManager[Received]:
        return _by_file(self._download)

    @contextlib.contextmanager
    def _download(self, file: str) -> Iterator[_Bytes]:
        tally = Tally(file, None, unit="B", clock=self._clock)
        bar = _LogBar(tally, self._say, self._every_s)

        def received(num_bytes: int, total: int | None) -> None:
            tally.total = total
            bar.advance(num_bytes - tally.done)

        with self._reported(tally):
            yield received

    def note(self, text: str) -> None:
        self._say(text)

    @contextlib.contextmanager
    def _reported(self, tally: Tally) -> Iterator[None]:
        try:
            yield
        except BaseException:
            tally.ended = self._clock()
            self._say(f"{tally.name}: stopped after {tally.line}")
            raise
        tally.ended = self._clock()
        if tally.done > tally.start:
            self._say(f"{tally.name}: done, {tally.line}")


class Silent:
    """Shows nothing."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int, start: int = 0) -> Iterator[Bar]:
        yield Tally(name, total, start=start)

    @contextlib.contextmanager
    def download(self, name: str) -> Iterator[Received]:
        yield lambda *_: None

    def note(self, text: str) -> None:
        pass


class NotesOnly(Silent):
    """Shows only notes, such as what a run waits for, on stderr."""

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class RichProgress:
    """Shows a bar for each stage and download in a terminal, and lines elsewhere."""

    def __init__(
        self,
        console: Console | None = None,
        *,
        is_quiet: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self.console = console or Console(stderr=True)
        self._clock = clock
        self._bars: Bars | None = None
        self._num_open = 0
        self._plain: Progress | None = None
        if is_quiet:
            self._plain = Silent()
        elif not self.console.is_terminal:
            self._plain = LogProgress(self._print, clock=clock)

    def stage(self, name: str, total: int, start: int = 0) -> AbstractContextManager[Bar]:
        if self._plain:
            return self._plain.stage(name, total, start)
        return self._stage(Tally(name, total, start=start, clock=self._clock))

    def download(self, name: str) -> AbstractContextManager[Received]:
        if self._plain:
            return self._plain.download(name)
        return _by_file(self._download)

    def note(self, text: str) -> None:
        if self._plain:
            self._plain.note(text)
        else:
            self._print(text)

    @contextlib.contextmanager
    def _stage(self, tally: Tally) -> Iterator[Bar]:
        with self._bar(tally) as redraw:
            yield _LiveBar(tally, redraw)

    @contextlib.contextmanager
    def _download(self, file: str) -> Iterator[_Bytes]:
        tally = Tally(file, None, unit="B", clock=self._clock)
        with self._bar(tally) as redraw:

            def received(num_bytes: int, total: int | None) -> None:
                tally.total, tally.done = total, num_bytes
                redraw()

            yield received

    @contextlib.contextmanager
    def _bar(self, tally: Tally) -> Iterator[Callable[[], None]]:
        """Open a line of the display, which closes with its last bar, so that all lines stay."""
        bars = self._bars = self._bars or _started(self.console)
        self._num_open += 1
        task = bars.add_task("", total=tally.total, completed=tally.done, tally=tally, mark="")
        try:
            yield lambda: bars.update(task, total=tally.total, completed=tally.done)
            self._end(bars, task, tally, "[green]✓[/]")
        except BaseException:
            self._end(bars, task, tally, "[red]✗[/]")
            raise

    def _end(self, bars: Bars, task: TaskID, tally: Tally, mark: str) -> None:
        tally.ended = self._clock()
        total = tally.total if tally.total is not None else max(tally.done, 1)
        bars.update(task, mark=mark, total=total, completed=tally.done)
        bars.stop_task(task)
        self._num_open -= 1
        if not self._num_open:
            bars.stop()
            self._bars = None

    def _print(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def _by_file(opened: Callable[[str], AbstractContextManager[_Bytes]]) -> Iterator[Received]:
    """Open a bar with `opened` for each file in turn, and pass on its byte counts."""
    with contextlib.ExitStack() as current:
        current_file: dict[str, _Bytes] = {}

        def received(file: str, num_bytes: int, total: int | None) -> None:
            if file not in current_file:
                current.close()
                current_file.clear()
                current_file[file] = current.enter_context(opened(file))
            current_file[file](num_bytes, total)

        yield received


@dataclass(slots=True)
class _LogBar:
    """A bar that writes a line when the last one is at least `every_s` old."""

    tally: Tally
    say: Callable[[str], object]
    every_s: float
    last_line_s: float = 0.0

    def advance(self, rows: int, rejects: int = 0) -> None:
        self.tally.advance(rows, rejects)
        if self.tally.elapsed_s - self.last_line_s >= self.every_s:
            self.last_line_s = self.tally.elapsed_s
            self.say(f"{self.tally.name}: {self.tally.line}")


@dataclass(slots=True)
class _LiveBar:
    """A bar that redraws its line on every update."""

    tally: Tally
    redraw: Callable[[], None]

    def advance(self, rows: int, rejects: int = 0) -> None:
        self.tally.advance(rows, rejects)
        self.redraw()


class _Spinner(SpinnerColumn):
    """Spins while the stage runs, then shows how it ended."""

    def render(self, task: Task) -> Any:
        mark = task.fields["mark"]
        return Text.from_markup(mark) if mark else super().render(task)


class _Cell(ProgressColumn):
    """A column with a text from the tally."""

    max_refresh = 0.1

    def __init__(self, text: Callable[[Tally], str], style: str, **column: Any) -> None:
        super().__init__(Column(no_wrap=True, **column))
        self._text, self._style = text, style

    def render(self, task: Task) -> Text:
        return Text(self._text(task.fields["tally"]), style=self._style)


def _started(console: Console) -> Bars:
    bars = Bars(
        _Spinner("dots", style="cyan"),
        _Cell(lambda t: t.name, "bold", min_width=14, overflow="ellipsis"),
        BarColumn(bar_width=24, complete_style="cyan", finished_style="green"),
        _Cell(lambda t: t.count_text, "default", justify="right"),
        _Cell(lambda t: t.rate_text, "cyan", justify="right"),
        _Cell(_time_text, "dim", justify="right"),
        _Cell(lambda t: f"{t.rejects} rejected" if t.rejects else "", "yellow"),
        console=console,
        refresh_per_second=8,
    )
    bars.start()
    return bars


def _time_text(tally: Tally) -> str:
    if tally.ended is not None:
        return f"in {duration(tally.elapsed_s)}"
    eta = "" if tally.eta_s is None else f", ETA {duration(tally.eta_s)}"
    return f"{duration(tally.elapsed_s)}{eta}"
