"""The destination of a stage's progress: the log of the run, or a display chosen by the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

    from invertory.pipelines.progress.display import Progress


class Reporting:
    """Sends progress to the log of the run, one line every few seconds."""

    def to(self, context: dg.AssetExecutionContext) -> Progress:
        from invertory.pipelines.progress.display import LogProgress

        return LogProgress(context.log.info)


class FixedReporting(Reporting):
    """Sends the progress of every run to one display."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def to(self, context: dg.AssetExecutionContext) -> Progress:
        return self._progress
