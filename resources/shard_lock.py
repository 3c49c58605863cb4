"""One process at a time publishes a shard; the kernel frees the lock of a killed one.

Locks exist on local disks. On an object store two writers of one shard make equal files, and the
one that ends last finds the shard done.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import fsspec

from invertory.resources.atomic import is_local

SUFFIX = ".lock"
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def alone(fs: fsspec.AbstractFileSystem, path: str) -> Iterator[None]:
    """Hold the lock file `path`, waiting for it where another process has it."""
    if not is_local(fs):
        yield
        return
    file = _lock(Path(path))
    try:
        yield
    finally:
        Path(path).unlink(missing_ok=True)
        file.close()


def drop_abandoned(fs: fsspec.AbstractFileSystem, path: str) -> bool:
    """Remove a lock file that no process holds; False where one does."""
    if not is_local(fs):
        return True
    with contextlib.suppress(FileNotFoundError), Path(path).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:  # a network disk without locks
            return True
        Path(path).unlink(missing_ok=True)
    return True


def _lock(path: Path) -> IO[bytes]:
    """The file, locked; made anew where its last holder has removed it meanwhile."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
        with contextlib.suppress(OSError):  # a network disk without locks
            _wait(file, path)
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _wait(file: IO[bytes], path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        logger.warning("waiting for another process to publish (it holds %s)", path)
        fcntl.flock(file, fcntl.LOCK_EX)
