"""Versions of a set that nobody needs any more, and their removal."""

import contextlib
import time
import uuid
from pathlib import Path

import fsspec

from invertory.resources.atomic import SUFFIX, sweep_folders
from invertory.resources.filesystems import is_local, list_folder
from invertory.resources.sets.records import RECORD, changed_at

KEEP_S = 3600  # a set that was replaced, for its readers
KEEP_UNFINISHED_S = 24 * 3600  # a set without a record; on an object store its writer may live


def remove_old(fs: fsspec.AbstractFileSystem, versions: str, current: str) -> None:
    """Remove all versions but the current one, the one before it, and recently replaced ones."""
    found = []
    for folder in list_folder(fs, versions):
        name = _name(folder)
        if name != _name(current) and not name.startswith("."):
            found.append((*_age_s(fs, folder), folder))
    is_previous_kept = False
    for age_s, is_finished, folder in sorted(found):
        limit_s = KEEP_S if is_finished else KEEP_UNFINISHED_S
        if age_s > limit_s and (is_previous_kept or not is_finished):
            discard(fs, versions, folder)
        is_previous_kept = is_previous_kept or is_finished


def discard(fs: fsspec.AbstractFileSystem, versions: str, folder: str) -> None:
    """Hide a version in one step, then remove it; on an object store its record goes first."""
    if is_local(fs):
        hidden = Path(versions) / f".old.{uuid.uuid4().hex[:12]}{SUFFIX}"
        with contextlib.suppress(FileNotFoundError):
            hidden.parent.mkdir(exist_ok=True)
            Path(folder).rename(hidden)
        sweep_folders(hidden.parent)
        return
    with contextlib.suppress(FileNotFoundError):
        fs.rm_file(f"{folder}/{RECORD}")
    with contextlib.suppress(FileNotFoundError):
        fs.rm(folder, recursive=True)


def _age_s(fs: fsspec.AbstractFileSystem, folder: str) -> tuple[float, bool]:
    """Seconds since its last file was written, and whether it was finished."""
    files = fs.find(folder, detail=True)
    times = [changed_at(info) for info in files.values()]
    return time.time() - max(times, default=0.0), f"{folder}/{RECORD}" in files


def _name(folder: str) -> str:
    return folder.rstrip("/").rsplit("/", 1)[-1]
