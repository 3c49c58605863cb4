"""Mark the runs of a killed command line or UI as failed, and free their pool slots.

A process that creates runs locks a file in DAGSTER_HOME/processes, which the kernel unlocks however
the process ends, and touches the file every few seconds. On the same kernel, in any container, a
free lock proves that the process is gone. On another machine, where a network disk may not share
locks, the file must also be untouched for a minute.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

BY = {"invertory/by": "command line"}
PROCESS = "invertory/process"
LOCK = "invertory/lock"  # "<id of the home>/<name of the file>"
KERNEL = "invertory/kernel"
SERVED_BY = "INVERTORY_SERVED_BY"  # holds LOCK and KERNEL of the parent `invertory ui`
UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
BEAT_S, STALE_S = 10.0, 60.0
FORGOTTEN_S = 86_400.0  # for a run without a lock, from an earlier version on another host


@contextlib.contextmanager
def living(home: Path) -> Iterator[dict[str, str]]:
    """Yield tags for the runs of this process, by which others can check whether it is alive."""
    folder = home / "processes"
    folder.mkdir(exist_ok=True)
    path = folder / f"{uuid.uuid4().hex}.lock"
    ended = threading.Event()
    with FileLock(path):
        threading.Thread(target=_beat, args=(path, ended), name="heartbeat", daemon=True).start()
        try:
            yield process_tags() | {LOCK: f"{_home_id(folder)}/{path.name}", KERNEL: _kernel()}
        finally:
            ended.set()
            path.unlink(missing_ok=True)


def process_tags() -> dict[str, str]:
    """Return the tags that identify the process of a run."""
    pid = os.getpid()
    process = f"{socket.gethostname()}:{pid}:{_started(pid)}"
    # a daemon could not retry the run: only this process knows its job
    return {**BY, PROCESS: process, "dagster/max_retries": "0"}


def free_abandoned(instance: dg.DagsterInstance, home: Path | None = None) -> list[str]:
    """Fail the runs whose process is gone, and return their ids."""
    home = home or Path(os.environ.get("DAGSTER_HOME", ".dagster"))
    records = instance.get_run_records(filters=dg.RunsFilter(statuses=UNFINISHED))
    abandoned = [record.dagster_run for record in records if _is_abandoned(record, home)]
    for run in abandoned:
        # slots first: a kill between the two leaves a run that the next call finds again
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        instance.report_run_failed(run, "its process was killed; a later run resumed the work")
    return [run.run_id for run in abandoned]


@contextlib.contextmanager
def serving_runs(home: Path) -> Iterator[None]:
    """Tie the runs of child processes to the life of this process, for the block."""
    with living(home) as tags:
        os.environ[SERVED_BY] = f"{tags[LOCK]} {tags[KERNEL]}"
        try:
            yield
        finally:
            del os.environ[SERVED_BY]


def tag_served(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Tag a run of the UI with its process, which Dagster cannot look up once that is gone."""
    if LOCK not in run.tags and (served_by := os.environ.get(SERVED_BY)):
        lock, _, kernel = served_by.partition(" ")
        instance.add_run_tags(run.run_id, {LOCK: lock, KERNEL: kernel})


def fail_unfinished(instance: dg.DagsterInstance, tags: dict[str, str]) -> None:
    """Mark this process's own runs as failed, just before it is killed."""
    own = dg.RunsFilter(tags={LOCK: tags[LOCK]}, statuses=UNFINISHED)
    for run in instance.get_runs(filters=own):
        instance.report_run_failed(run, "its process was stopped by a signal")


def _is_abandoned(record: dg.RunRecord, home: Path) -> bool:
    tags = record.dagster_run.tags
    home_id, _, name = tags.get(LOCK, "").partition("/")
    if name:
        folder = home / "processes"
        is_here = folder.is_dir() and home_id == _home_id(folder)
        return is_here and _is_gone(folder / name, is_same_kernel=tags.get(KERNEL) == _kernel())
    host, pid, started = tags.get(PROCESS, "::").rsplit(":", 2)
    if host == socket.gethostname():
        return _started(int(pid)) != started
    return bool(host) and time.time() - record.update_timestamp.timestamp() > FORGOTTEN_S


def _is_gone(path: Path, *, is_same_kernel: bool) -> bool:
    """Return True if the lock is free and, on another kernel, the file is no longer touched."""
    if not path.exists():
        return True
    with contextlib.suppress(Timeout, OSError), FileLock(path, timeout=0):
        is_gone = is_same_kernel or _now_on_disk(path.parent) - path.stat().st_mtime > STALE_S
        if is_gone:
            path.unlink(missing_ok=True)
        return is_gone
    return False


def _now_on_disk(folder: Path) -> float:
    """Return the time by the clock of the disk, which may differ from the host's."""
    probe = folder / f".{uuid.uuid4().hex}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink()


def _beat(path: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(path)


def _home_id(folder: Path) -> str:
    """Return a unique id of the home, since hosts may share a database but not a disk."""
    path = folder / "id"
    if not path.exists():
        fresh = folder / f".{uuid.uuid4().hex}"
        fresh.write_text(uuid.uuid4().hex)
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
    return path.read_text()


def _kernel() -> str:
    """Return an id shared by all containers of a running kernel, and by no other kernel."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return socket.gethostname()


def _started(pid: int) -> str | None:
    """Return the start time of a process in ticks, since pids are reused; None if it is gone.

    Returns "" if the system does not provide it.
    """
    with contextlib.suppress(FileNotFoundError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]  # zombie or dead
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # the process belongs to another user
    return ""
