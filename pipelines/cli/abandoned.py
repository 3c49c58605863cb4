"""Runs of a command line that was killed: marked as failed, and their pool slots freed.

A killed process keeps its slot of a Dagster pool. The daemon frees it where one runs; from the
command line nobody would, and the next run would wait for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import dagster as dg

BY = {"invertory/by": "command line"}
PROCESS = "invertory/process"
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def process_tags() -> dict[str, str]:
    """Tags that say which process makes a run, so that others can see whether it still does."""
    pid = os.getpid()
    process = f"{socket.gethostname()}:{pid}:{_started(pid)}"
    # a daemon could not start it anew: the run's job is known to this process alone
    return {**BY, PROCESS: process, "dagster/max_retries": "0"}


def free_abandoned(instance: dg.DagsterInstance) -> list[str]:
    """Ids of the runs whose process, of this host, is gone; each is a failed run from here on."""
    unfinished = dg.RunsFilter(tags=BY, statuses=UNFINISHED)
    found = [run for run in instance.get_runs(filters=unfinished) if _is_abandoned(run)]
    for run in found:
        # slots first: a kill between the two leaves a run that is found again
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        instance.report_run_failed(run, "its process was killed; a later run went on from there")
    return [run.run_id for run in found]


def _is_abandoned(run: dg.DagsterRun) -> bool:
    host, pid, started = run.tags.get(PROCESS, "::").rsplit(":", 2)
    return host == socket.gethostname() and _started(int(pid)) != started


def _started(pid: int) -> str | None:
    """When a process began, in the system's ticks, as numbers are given anew; None: it is gone.

    Empty where the system does not tell.
    """
    with contextlib.suppress(FileNotFoundError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # a zombie, or dead
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # another user's
    return ""
