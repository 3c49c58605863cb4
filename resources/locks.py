"""File locks that say who holds them; the kernel frees those of a killed process.

They are locks of `filelock`: links are not followed, and no file is truncated.
"""

import contextlib
import json
import math
import os
import pwd
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

FIRST_POLL_S, MAX_POLL_S = 0.05, 1.0
FIRST_REMINDER_S, MAX_REMINDER_S = 30.0, 600.0
RECORD_BYTES = 512
Waiting = Callable[[str], object]


def silent(text: str) -> None:
    """Do not say who holds the lock."""


@contextlib.contextmanager
def holding(
    path: Path, what: str, *, waiting: Waiting = silent, timeout_s: float = math.inf
) -> Iterator[None]:
    """Hold the lock at `path` for the length of the block, and remove its file at the end.

    `waiting` is called with a sentence about the holder, first at once and then from time to time.
    Raises TimeoutError after `timeout_s`.
    """
    with holding_one({what: path}, waiting=waiting, timeout_s=timeout_s):
        try:
            yield
        finally:
            # a process that has opened the file finds it unlinked and opens the path again
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def holding_one(
    places: Mapping[str, Path],
    *,
    waiting: Waiting = silent,
    timeout_s: float = math.inf,
    is_shared: bool = False,
    kind: str = "lock",
    remedy: str = "or end that process",
) -> Iterator[str]:
    """Hold the first of several locks that is or becomes free, and yield its name.

    `is_shared`: every user of the host may write in the folder, so the files stay empty.
    """
    found = _wait(places, waiting, timeout_s, is_shared)
    if found is None:
        raise TimeoutError(
            f"expected a free {kind} within {timeout_s:g} s, got none: {holders(places)}; "
            f"wait for it, {remedy}"
        )
    name, lock = found
    try:
        yield name
    finally:
        lock.release()


def holder(path: Path) -> str:
    """The process that holds the lock, with its host or user and the time, as far as is known."""
    record, pid = _record(path), _kernel_holder(path)
    if record and pid in (None, record["pid"]):
        return f"process {record['pid']} on {record['host']} since {record['since']}"
    return f"process {pid} of {_user(pid)}" if pid else "a process that is not visible from here"


def holders(places: Mapping[str, Path]) -> str:
    """A clause for each lock: what it locks, and who holds it."""
    return ", ".join(f"{name} is held by {holder(path)}" for name, path in places.items())


def _wait(
    places: Mapping[str, Path], waiting: Waiting, timeout_s: float, is_shared: bool
) -> tuple[str, BaseFileLock] | None:
    began, pause_s = time.monotonic(), FIRST_POLL_S
    reminder_s, every_s = 0.0, FIRST_REMINDER_S
    while True:
        for name, path in places.items():
            if lock := _try(path, is_shared):
                return name, lock
        waited_s = time.monotonic() - began
        if waited_s >= timeout_s:
            return None
        if waited_s >= reminder_s:
            waiting(_sentence(places, waited_s))
            reminder_s, every_s = waited_s + every_s, min(2 * every_s, MAX_REMINDER_S)
        time.sleep(max(0.0, min(pause_s, timeout_s - waited_s)))
        pause_s = min(2 * pause_s, MAX_POLL_S)


def _sentence(places: Mapping[str, Path], waited_s: float) -> str:
    so_far = f"has waited {waited_s:.0f} s" if waited_s >= 1 else "waits"
    return f"{so_far} for {' or '.join(places)}: {holders(places)}"


def _try(path: Path, is_shared: bool) -> BaseFileLock | None:
    if is_shared:
        lock = FileLock(path, mode=0o666)
    else:
        # those who may write in the folder may lock in it
        mode = path.parent.stat().st_mode & 0o666 | 0o600
        lock = FileLock(path, mode=mode, on_acquired=_sign)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _sign(descriptor: int) -> None:
    record = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    data = json.dumps(record).encode()
    os.pwrite(descriptor, data, 0)
    os.ftruncate(descriptor, len(data))


def _record(path: Path) -> dict[str, Any] | None:
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            record = json.loads(file.read(RECORD_BYTES))
        if isinstance(record, dict) and record.keys() >= {"pid", "host", "since"}:
            return record
    return None


def _kernel_holder(path: Path) -> int | None:
    """The process that the kernel names; None on other systems, and for other hosts."""
    with contextlib.suppress(OSError, ValueError):
        info = path.stat(follow_symlinks=False)
        device = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}"
        wanted = f"{device}:{info.st_ino}"
        for line in Path("/proc/locks").read_text().splitlines():
            _, kind, *_, pid, inode, _, _ = line.split()  # 1: FLOCK ADVISORY WRITE pid inode 0 EOF
            if kind == "FLOCK" and inode == wanted:
                return int(pid)
    return None


def _user(pid: int) -> str:
    with contextlib.suppress(OSError):
        number = Path(f"/proc/{pid}").stat().st_uid
        with contextlib.suppress(KeyError):
            return f"user {pwd.getpwuid(number).pw_name}"
        return f"user {number}"
    return "an unknown user"
