"""Files of a folder, local or behind an fsspec URL: list them, and read them up to a limit."""

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fsspec

from invertory.resources.entries import SEPARATOR, Entry, encode, is_hidden
from invertory.resources.outages import is_outage

TIMES = ("mtime", "LastModified", "last_modified", "updated", "created", "ETag", "etag")


def list_local(root: str) -> Iterator[Entry]:
    """List every file under `root` except hidden ones, sorted by URI, folder by folder.

    A linked folder is followed once, if it lies outside `root`. A file or folder without access (a
    dangling link, a folder without permission) is listed without a size: reading it raises why.
    """
    seen: set[str] = set()
    yield from _walk(root.rstrip("/") or "/", os.path.realpath(root), seen)


def list_remote(fs: fsspec.AbstractFileSystem, root: str) -> Iterator[Entry]:
    """List every object under `root` except hidden ones, sorted by URI."""
    fs.invalidate_cache()
    files = _find(fs, root)
    entries = [
        Entry(encode(fs.unstrip_protocol(path)), info.get("size"), modified(info))
        for path, info in files.items()
        if not is_hidden(path.removeprefix(root).lstrip("/"))
    ]
    yield from sorted(entries, key=lambda entry: entry.uri)


def _find(fs: fsspec.AbstractFileSystem, root: str) -> dict[str, Mapping[str, Any]]:
    """Find every file under `root`; folder by folder if fsspec exceeds the recursion limit."""
    try:
        return dict(fs.find(root, detail=True))
    except RecursionError:
        pass
    files: dict[str, Mapping[str, Any]] = {}
    folders, seen = [root], {root.rstrip("/")}
    while folders:
        for info in fs.ls(folders.pop(), detail=True):
            path = info["name"].rstrip("/")
            if info["type"] != "directory":
                files[path] = info
            elif path not in seen:
                seen.add(path)
                folders.append(path)
    return files


def describe(name: str, options: Mapping[str, Any]) -> Entry:
    """Return an entry for one path or URL, without size and time if they are unknown.

    An outage is raised, since an entry without a size would differ from that of the next listing.
    """
    try:
        fs, path = filesystem_of(name, options)
        info = fs.info(path)
    except (OSError, ValueError) as error:
        if is_outage(error):
            raise
        return Entry(encode(name))
    return Entry(encode(name), info.get("size"), modified(info))


def filesystem_of(name: str, options: Mapping[str, Any]) -> tuple[fsspec.AbstractFileSystem, str]:
    """Return the filesystem of a path or URL, and the path in it.

    `::` is part of the name here; fsspec would treat it as a chain of filesystems.
    """
    head, separator, tail = name.partition(SEPARATOR)
    fs, path = fsspec.core.url_to_fs(head, **options)
    return fs, path + separator + tail


def modified(info: Mapping[str, Any]) -> str | None:
    """Return when a file was last modified, from the metadata of its filesystem."""
    value = next((info[name] for name in TIMES if info.get(name) is not None), None)
    if isinstance(value, float | int):
        try:
            return datetime.fromtimestamp(value, UTC).isoformat()
        except (OverflowError, ValueError, OSError):  # the time is out of range
            return None
    return value.isoformat() if isinstance(value, datetime) else value


def read_local(path: str, max_bytes: int) -> bytes:
    """Return the bytes of a regular file; OSError for anything else, as a pipe could block."""
    status = os.stat(path)  # noqa: PTH116 (names that are no UTF-8)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "expected a file, got a folder", path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "expected a regular file, got a pipe or a device", path)
    check_size(status.st_size, max_bytes, path)
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(max_bytes + 1)


def read_remote(name: str, max_bytes: int, options: Mapping[str, Any]) -> bytes:
    """Return the bytes behind a URL; any error of its filesystem is raised as an OSError."""
    try:
        fs, path = filesystem_of(name, options)
        size = fs.info(path).get("size")
        check_size(size or 0, max_bytes, name)
        content: bytes = fs.cat_file(path, 0, max_bytes + 1) if size is None else fs.cat_file(path)
        check_size(len(content), max_bytes, name)
        if len(content) < (size or 0):
            raise ConnectionError(f"expected {size} bytes, got {len(content)}: {name}")
        return content
    except (OSError, ImportError):
        raise
    except Exception as error:  # clients of object stores raise their own exceptions
        raise OSError(f"{type(error).__name__}: {error} ({name})") from error


def check_size(size_bytes: int, max_bytes: int, name: str) -> None:
    """Raise OSError (EFBIG) if the file is larger than allowed."""
    if size_bytes > max_bytes:
        raise OSError(errno.EFBIG, f"expected at most {max_bytes} bytes, got {size_bytes}", name)


def _walk(folder: str, root: str, seen: set[str]) -> Iterator[Entry]:
    """Walk depth first without recursion, since folders may be nested a thousand deep."""
    open_folders = [_scan(folder)]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif isinstance(entry, Entry):
            yield entry
        elif not _is_folder(entry):
            yield _local_entry(entry)
        elif not entry.is_symlink() or _is_new(entry.path, root, seen):
            open_folders.append(_scan(entry.path))


def _scan(folder: str) -> Iterator[os.DirEntry[str] | Entry]:
    """List a folder in the order of the URIs; yield the folder itself if it cannot be read."""
    try:
        with os.scandir(folder) as scan:
            entries = [entry for entry in scan if not entry.name.startswith(".")]
    except OSError as error:
        if is_outage(error):
            raise
        yield Entry(encode(folder))
        return
    # A folder sorts as "name/", which makes depth first the order of the URIs.
    yield from sorted(entries, key=lambda e: encode(e.name) + "/" * _is_folder(e))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if is_outage(error):
            raise
        return False  # a link to itself


def _is_new(link: str, root: str, seen: set[str]) -> bool:
    """Return True if a linked folder lies outside `root` and has not been visited."""
    target = os.path.realpath(link)
    inside = Path(target).is_relative_to(root)
    around = Path(root).is_relative_to(target)
    if inside or around or target in seen:
        return False
    seen.add(target)
    return True


def _local_entry(entry: os.DirEntry[str]) -> Entry:
    try:
        status = entry.stat()
    except OSError as error:
        if is_outage(error):
            raise
        return Entry(encode(entry.path))
    if not stat.S_ISREG(status.st_mode):
        return Entry(encode(entry.path))
    return Entry(encode(entry.path), status.st_size, modified({"mtime": status.st_mtime}))
