"""Files get their final name only once they are whole.

A local file is written under a dotted name in the same folder, synced and renamed. Elsewhere a
local temporary file is uploaded with one put, which object stores publish whole or not at all.
(Writing to `fs.open(path, "wb")` publishes the first half when the second fails.) Temporary files
are locked while they are written, so that `sweep` removes only those of killed processes.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import fsspec
from filelock import lock_descriptor

from invertory.resources.filesystems import is_local
from invertory.resources.lock_folders import scratch_folder

SUFFIX = ".tmp"


@contextlib.contextmanager
def replacing(fs: fsspec.AbstractFileSystem, path: str) -> Iterator[IO[bytes]]:
    """A file to write to; it replaces `path` when the block ends without an error."""
    if is_local(fs):
        with replacing_file(Path(path)) as file:
            yield file
        return
    with _temporary(scratch_folder(), Path(path).name) as file:
        yield file
        file.flush()
        _put(fs, Path(file.name), path)


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[IO[bytes]]:
    """`replacing` for a path of this host."""
    with _temporary(path.parent, path.name) as file:
        yield file
        _sync(file)
        Path(file.name).replace(path)
    _sync_folder(path.parent)


def write_private(path: Path, text: str) -> None:
    """Write a file of this host that only its owner may read."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{SUFFIX}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)


def sweep(fs: fsspec.AbstractFileSystem, folder: str) -> None:
    """Remove the temporary files that killed processes left in `folder` (or in the scratch)."""
    for path in list((Path(folder) if is_local(fs) else scratch_folder()).glob(f".*{SUFFIX}")):
        with contextlib.suppress(OSError), path.open("rb") as file:
            if lock_descriptor(file.fileno(), blocking=False):  # otherwise its writer is alive
                path.unlink()


@contextlib.contextmanager
def _temporary(folder: Path, name: str) -> Iterator[IO[bytes]]:
    with _locked(folder, name) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)  # gone already where it was renamed


def _locked(folder: Path, name: str) -> IO[bytes]:
    """A new locked file; created again where a sweep removed it before it was locked."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            file = (folder / f".{name}.{uuid.uuid4().hex[:12]}{SUFFIX}").open("x+b")
        except FileNotFoundError:  # the folder was removed in between
            continue
        with contextlib.suppress(OSError):  # a network disk without locks: no sweep either
            lock_descriptor(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _put(fs: fsspec.AbstractFileSystem, source: Path, path: str) -> None:
    if "memory" in fs.protocol:  # its put_file may publish half a file
        fs.pipe_file(path, source.read_bytes())
    else:
        fs.put_file(str(source), path)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Sync a folder, without which a rename does not survive a power cut."""
    with contextlib.suppress(OSError):  # some network disks refuse to sync folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def replace_link(path: Path, target: str) -> None:
    """Make `path` a symbolic link to `target`, in one step if it is a link already."""
    while True:
        link = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}{SUFFIX}")
        link.symlink_to(target)
        try:
            link.replace(path)
            break
        except FileNotFoundError:  # swept away in between
            continue
        finally:
            link.unlink(missing_ok=True)
    _sync_folder(path.parent)


def rename_folder(source: Path, target: Path) -> None:
    """Rename a folder; OSError where `target` is not empty, as a folder is never replaced."""
    source.rename(target)
    _sync_folder(target.parent)


@contextlib.contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A locked hidden folder, removed at the end of the block unless it was renamed."""
    while True:
        path = parent / f".{name}.{uuid.uuid4().hex[:12]}{SUFFIX}"
        path.mkdir(parents=True)
        with _locked_folder(path) as is_there:
            if not is_there:  # swept between its creation and its lock
                continue
            try:
                yield path
            finally:
                shutil.rmtree(path, ignore_errors=True)
            return


def sweep_folders(parent: Path) -> None:
    """Remove the temporary folders that killed processes left in `parent`."""
    for path in list(parent.glob(f".*{SUFFIX}")):
        if path.is_symlink():
            path.unlink(missing_ok=True)
            continue
        with contextlib.suppress(OSError), _locked_folder(path, wait=False):
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked_folder(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """False where the folder was removed before it could be locked."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            if not lock_descriptor(descriptor, blocking=wait):
                raise BlockingIOError(f"{path} is locked by the process that writes in it")
        except BlockingIOError:
            raise
        except OSError:  # a network disk without locks
            if not wait:
                raise
        yield path.is_dir()
    finally:
        os.close(descriptor)
