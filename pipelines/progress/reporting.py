"""Where a stage tells how far it is: the run's log, or whatever a caller puts in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import dagster as dg

    from invertory.pipelines.progress.display import Progress


class Reporting:
    """Progress goes to the log of the run, a line every few seconds."""

    def to(self, context: dg.AssetExecutionContext) -> Progress:
        from invertory.pipelines.progress.display import LogProgress

        return LogProgress(context.log.info)


class Fixed(Reporting):
    """Progress goes to one place, whichever run asks."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def to(self, context: dg.AssetExecutionContext) -> Progress:
        return self._progress
