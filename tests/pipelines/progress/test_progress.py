import io
import logging
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from invertory.pipelines.progress.display import (
    LogProgress,
    Progress,
    RichProgress,
    Silent,
)
from invertory.pipelines.progress.reporting import FixedReporting, Reporting
from invertory.pipelines.progress.tally import Tally, duration


class Clock:
    """A clock that is advanced by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def terminal(clock: Clock, width: int = 120) -> tuple[RichProgress, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None)
    return RichProgress(console, clock=clock), out


def last_lines(out: io.StringIO) -> str:
    return out.getvalue().split("\r")[-1]


def test_a_line_has_count_rate_eta_and_rejects() -> None:
    clock = Clock()
    tally = Tally("latents", 5000, clock=clock)
    clock.now += 400
    tally.advance(1240, 4)
    assert tally.line == "1240/5000 img, 3.1 img/s, ETA 20 min, 4 rejected"


def test_rows_of_an_earlier_run_do_not_count_for_the_rate() -> None:
    clock = Clock()
    tally = Tally("latents", 100, start=50, clock=clock)
    clock.now += 10
    tally.advance(10)
    assert (tally.rate, tally.eta_s) == (1.0, 40.0)


def test_without_a_row_there_is_no_rate_and_no_eta() -> None:
    tally = Tally("latents", 10, clock=Clock())
    assert tally.line == "0/10 img"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (1200, "20 min"), (7500, "2 h 05 min")],
)
def test_durations_are_formatted(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_come_at_most_every_ten_seconds_and_at_the_end() -> None:
    said: list[str] = []
    clock = Clock()
    with LogProgress(said.append, clock=clock).stage("aligned", 30) as bar:
        for _ in range(30):
            clock.now += 1
            bar.advance(1)
    assert said == [
        "aligned: 10/30 img, 1 img/s, ETA 20 s",
        "aligned: 20/30 img, 1 img/s, ETA 10 s",
        "aligned: 30/30 img, 1 img/s, ETA 0 s",
        "aligned: done, 30/30 img, 1 img/s, in 30 s",
    ]


def test_a_resumed_stage_is_reported() -> None:
    said: list[str] = []
    with LogProgress(said.append, clock=Clock()).stage("latents", 10, 4):
        pass
    assert said == ["latents: resuming after 4 of 10 img"]


def test_a_failed_stage_reports_its_progress() -> None:
    said: list[str] = []
    clock = Clock()
    with (
        pytest.raises(KeyError),
        LogProgress(said.append, clock=clock).stage("edits", 10) as bar,
    ):
        clock.now += 2
        bar.advance(4, 1)
        raise KeyError
    assert said == ["edits: stopped after 4/10 img, 2 img/s, in 2 s, 1 rejected"]


def test_a_download_is_counted_in_bytes_under_the_name_of_its_file() -> None:
    said: list[str] = []
    clock = Clock()
    with LogProgress(said.append, clock=clock).download("pypi://package") as received:
        received("weights.whl", 0, 38_000_000)
        clock.now += 12
        received("weights.whl", 19_000_000, 38_000_000)
        clock.now += 8
        received("weights.whl", 38_000_000, 38_000_000)
    assert said == [
        "weights.whl: 19.0 MB of 38.0 MB, 1.6 MB/s, ETA 12 s",
        "weights.whl: done, 38.0 MB of 38.0 MB, 1.9 MB/s, in 20 s",
    ]


def test_files_of_one_download_have_their_own_lines() -> None:
    said: list[str] = []
    clock = Clock()
    with LogProgress(said.append, clock=clock).download("weights") as received:
        for file in ("a.whl", "b.whl"):
            clock.now += 1
            received(file, 0, 2000)
            clock.now += 1
            received(file, 2000, 2000)
    assert said == [
        "a.whl: done, 2.0 kB of 2.0 kB, 1.0 kB/s, in 2 s",
        "b.whl: done, 2.0 kB of 2.0 kB, 2.0 kB/s, in 1 s",
    ]


def test_a_failed_download_reports_its_progress() -> None:
    said: list[str] = []
    with (
        pytest.raises(OSError, match="gone"),
        LogProgress(said.append, clock=Clock()).download("weights") as received,
    ):
        received("a.whl", 1000, 2000)
        raise OSError("gone")
    assert said == ["a.whl: stopped after 1.0 kB of 2.0 kB, in 0 s"]


def test_a_cached_file_is_not_reported() -> None:
    said: list[str] = []
    with LogProgress(said.append, clock=Clock()).download("pypi://package"):
        pass
    assert said == []


def test_a_dagster_log_gets_the_lines(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    context: Any = SimpleNamespace(log=logging.getLogger("run"))
    with caplog.at_level(logging.INFO, "run"):
        progress = Reporting().to(context)
        assert isinstance(progress, LogProgress)
        with LogProgress(context.log.info, clock=clock).stage("images", 1) as bar:
            clock.now += 1
            bar.advance(1)
    assert caplog.messages == ["images: done, 1/1 img, 1 img/s, in 1 s"]


def test_fixed_reporting_uses_its_display() -> None:
    progress = Silent()
    context: Any = SimpleNamespace(log=None)
    assert FixedReporting(progress).to(context) is progress


def test_output_without_a_terminal_gets_plain_lines() -> None:
    out = io.StringIO()
    clock = Clock()
    progress = RichProgress(Console(file=out, width=40), clock=clock)
    progress.note("reads [this] /as it stands/ although it is longer than the console is wide")
    with progress.stage("images", 2) as bar:
        clock.now += 4
        bar.advance(2)
    assert out.getvalue() == (
        "reads [this] /as it stands/ although it is longer than the console is wide\n"
        "images: done, 2/2 img, 0.5 img/s, in 4 s\n"
    )


def test_a_done_stage_stays_in_the_terminal() -> None:
    clock = Clock()
    progress, out = terminal(clock)
    with progress.stage("latents/projector", 8) as bar:
        clock.now += 4
        bar.advance(8, 3)
    line = last_lines(out)
    for part in ("✓", "latents/projector", "8/8", "2 img/s", "in 4 s", "3 rejected"):
        assert part in line


def test_a_failed_stage_is_marked_in_the_terminal() -> None:
    progress, out = terminal(Clock())
    with pytest.raises(KeyError), progress.stage("edits", 8):
        raise KeyError
    assert "✗" in last_lines(out)
    with progress.stage("images", 1):  # and the display can be used again
        pass
    assert "✓" in last_lines(out)


def test_a_download_inside_a_stage_has_its_own_line() -> None:
    clock = Clock()
    progress, out = terminal(clock)
    with progress.stage("latents", 8) as bar:
        with progress.download("pypi://package") as received:
            received("weights.whl", 0, None)
            clock.now += 2
            received("weights.whl", 4_000_000, 4_000_000)
        bar.advance(8)
    tail = out.getvalue()[-600:]
    for part in ("latents", "8/8", "weights.whl", "4.0 MB of 4.0 MB", "2.0 MB/s"):
        assert part in tail


def test_a_cached_file_leaves_no_line_in_the_terminal() -> None:
    progress, out = terminal(Clock())
    with progress.stage("latents", 1), progress.download("pypi://package"):
        pass
    assert "pypi://package" not in last_lines(out)


def test_markup_in_a_name_is_shown_literally() -> None:
    progress, out = terminal(Clock())
    progress.note("[red]x[/]")
    with progress.stage("[bold]name", 1):
        pass
    assert "[red]x[/]" in out.getvalue()
    assert "[bold]name" in last_lines(out)


@pytest.mark.parametrize("progress", [Silent(), RichProgress(is_quiet=True)])
def test_silent_progress_shows_nothing(
    progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    progress.note("hello")
    with progress.stage("images", 3) as bar, progress.download("x") as received:
        bar.advance(3, 1)
        received("x", 1, None)
    assert capsys.readouterr() == ("", "")
