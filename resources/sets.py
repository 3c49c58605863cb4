"""Exported sets: written beside the current one, verified, then made current in one step.

    sets/<method>/_versions/<key>/<format>/...      files, and manifest.json for each format
    sets/<method>/_versions/<key>/set.json          key and manifests with their digests
    sets/<method>/current     -> _versions/<key>    a relative link, replaced in one step
    sets/<method>/<format>    -> current/<format>   where users find a set

Object stores have no links. There a writer has a folder of its own, `_versions/<key>-<random>`, and
`sets/<method>/current.json` names the current one. A set that was replaced stays until the one
after it is an hour old, for the sake of those who are reading it. Sets of earlier versions lie in
`sets/<method>/<format>` itself.
"""

import contextlib
import hashlib
import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import fsspec

from invertory.resources.atomic import (
    rename_folder,
    replace_link,
    replacing,
    sweep_folders,
    temporary_folder,
)
from invertory.resources.filesystems import is_local, list_folder

VERSIONS, CURRENT, RECORD, MANIFEST = "_versions", "current", "set.json", "manifest.json"
EARLIER = "earlier"  # folder of a set that an earlier version wrote
NAME_CHARS = 16
KEEP_S = 3600  # a set that was replaced, for readers
KEEP_UNFINISHED_S = 24 * 3600  # what has no record; on an object store its writer may live
BLOCK_BYTES = 1 << 20
Create = Callable[[str], Any]  # name in the set => a context that gives a binary sink
Fault = tuple[str, str]  # path, what is wrong with it


class SetVersions:
    """The sets of one method, of which one is current."""

    def __init__(self, fs: fsspec.AbstractFileSystem, folder: str) -> None:
        self._fs, self._folder = fs, folder

    def current(self) -> str | None:
        """The folder of the current set; None where none was made current."""
        if is_local(self._fs):
            link = Path(self._folder) / CURRENT
            return f"{self._folder}/{link.readlink()}" if link.is_symlink() else None
        pointer = _read_json(self._fs, f"{self._folder}/{CURRENT}.json")
        return f"{self._folder}/{pointer['folder']}" if pointer else None

    def faults(
        self, key: str, formats: Sequence[str], num_rows: int, *, is_thorough: bool = False
    ) -> Iterator[Fault]:
        """What is missing, cut or changed in the set of this key, if it is the current one.

        Sizes are compared, and the contents of files that were changed after the set was made;
        with `is_thorough` all contents are.
        """
        folder = self.current()
        if folder is None:
            yield from self._faults_of_earlier(formats, num_rows, is_thorough)
            return
        yield from self._faults_in(folder, key, formats, is_thorough)
        if is_local(self._fs):
            for name in formats:
                if not (link := Path(self._folder) / name).exists():
                    yield str(link), "it is missing"

    def publish(self, key: str, formats: Sequence[str], write: Callable[[Create], None]) -> None:
        """Make the set of `key` current; `write` gives its files where they are not there yet."""
        if is_local(self._fs):
            sweep_folders(Path(self._folder))
            sweep_folders(Path(self._folder) / VERSIONS)
        version = self._sound_version(key, formats) or self._written(key, formats, write)
        self._make_current(version, formats)
        self._remove_old(version)

    # Writing

    def _sound_version(self, key: str, formats: Sequence[str]) -> str | None:
        for folder in list_folder(self._fs, f"{self._folder}/{VERSIONS}"):
            name = folder.rstrip("/").rsplit("/", 1)[-1]
            if name.startswith(key[:NAME_CHARS]) and not any(
                self._faults_in(folder, key, formats, True)
            ):
                return folder
        return None

    def _written(self, key: str, formats: Sequence[str], write: Callable[[Create], None]) -> str:
        name = key[:NAME_CHARS]
        with self._new_folder(name) as folder:
            write(_creator(self._fs, folder))
            self._record(folder, key, formats)
            for path, reason in self._faults_in(folder, key, formats, True):
                raise OSError(f"expected {path} as it was just written, but {reason}; run again")
            if not is_local(self._fs):
                return folder
            return self._named(Path(folder), name, key, formats)

    @contextlib.contextmanager
    def _new_folder(self, name: str) -> Iterator[str]:
        if is_local(self._fs):
            with temporary_folder(Path(self._folder) / VERSIONS, name) as path:
                yield str(path)
            return
        yield f"{self._folder}/{VERSIONS}/{name}-{uuid.uuid4().hex[:8]}"

    def _named(self, folder: Path, name: str, key: str, formats: Sequence[str]) -> str:
        """The finished folder under its name; a sound one that is there already wins."""
        target = folder.with_name(name)
        while True:
            try:
                rename_folder(folder, target)
                return str(target)
            except OSError:
                if not target.is_dir():
                    raise
            if not any(self._faults_in(str(target), key, formats, True)):
                return str(target)
            self._discard(str(target))

    def _record(self, folder: str, key: str, formats: Sequence[str]) -> None:
        """`set.json`: the manifests, or all files of a format that has none, with digests."""
        files = []
        for name in formats:
            path = f"{folder}/{name}/{MANIFEST}"
            paths = [path] if self._fs.exists(path) else self._fs.find(f"{folder}/{name}")
            files += [{"name": p[len(folder) + 1 :], "size_bytes": self._fs.size(p),
                       "sha256": _sha256(self._fs, p)} for p in paths]  # fmt: skip
        record = {"key": key, "formats": list(formats), "files": files}
        text = json.dumps(record | {"digest": _digest(record)}, indent=2) + "\n"
        with replacing(self._fs, f"{folder}/{RECORD}") as sink:
            sink.write(text.encode())

    def _make_current(self, version: str, formats: Sequence[str]) -> None:
        name = f"{VERSIONS}/{version.rstrip('/').rsplit('/', 1)[-1]}"
        if not is_local(self._fs):
            with replacing(self._fs, f"{self._folder}/{CURRENT}.json") as sink:
                sink.write(json.dumps({"folder": name}).encode() + b"\n")
            return
        folder = Path(self._folder)
        replace_link(folder / CURRENT, name)
        for link in folder.iterdir():
            is_ours = link.is_symlink() and str(link.readlink()).startswith(f"{CURRENT}/")
            if is_ours and link.name not in formats:
                link.unlink(missing_ok=True)
        for format in formats:
            self._link(folder / format)

    def _link(self, link: Path) -> None:
        """The documented path to a format; a folder of an earlier version makes room for it."""
        target = f"{CURRENT}/{link.name}"
        if link.is_symlink() and str(link.readlink()) == target:
            return
        if link.is_dir() and not link.is_symlink():
            kept = Path(self._folder) / VERSIONS / EARLIER / link.name
            self._discard(str(kept))
            kept.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                link.rename(kept)
        replace_link(link, target)

    # Removing

    def _remove_old(self, current: str) -> None:
        """All versions but the current one, the one before it and what readers may still have."""
        found = []
        for folder in list_folder(self._fs, f"{self._folder}/{VERSIONS}"):
            name = folder.rstrip("/").rsplit("/", 1)[-1]
            if name != current.rstrip("/").rsplit("/", 1)[-1] and not name.startswith("."):
                found.append((*self._age_s(folder), folder))
        kept = False
        for age_s, is_finished, folder in sorted(found):
            limit_s = KEEP_S if is_finished else KEEP_UNFINISHED_S
            if age_s > limit_s and (kept or not is_finished):
                self._discard(folder)
            kept = kept or is_finished

    def _age_s(self, folder: str) -> tuple[float, bool]:
        """Since its last file was written; and whether it was finished."""
        files = self._fs.find(folder, detail=True)
        times = [_changed(info) for info in files.values()]
        return time.time() - max(times, default=0.0), f"{folder}/{RECORD}" in files

    def _discard(self, folder: str) -> None:
        """Out of sight in one step, then removed; its record goes first where there is no such."""
        if is_local(self._fs):
            versions = Path(self._folder) / VERSIONS
            hidden = versions / f".old.{uuid.uuid4().hex[:12]}.tmp"
            with contextlib.suppress(FileNotFoundError):
                versions.mkdir(exist_ok=True)
                Path(folder).rename(hidden)
            sweep_folders(versions)
            return
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{folder}/{RECORD}")
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm(folder, recursive=True)

    # Verifying

    def _faults_in(
        self, folder: str, key: str, formats: Sequence[str], is_thorough: bool
    ) -> Iterator[Fault]:
        path = f"{folder}/{RECORD}"
        record = _read_json(self._fs, path)
        if record is None:
            yield path, "it is missing or cannot be read"
            return
        digest = record.pop("digest", None)
        if digest != _digest(record):
            yield path, "its text does not match its digest"
        elif record["key"] != key:
            yield path, f"it is of key {record['key'][:NAME_CHARS]}, not {key[:NAME_CHARS]}"
        elif missing := sorted(set(formats) - set(record["formats"])):
            yield path, f"it has no {', '.join(missing)}"
        else:
            yield from self._compared(folder, folder, record["files"], RECORD, is_thorough)

    def _faults_of_earlier(
        self, formats: Sequence[str], num_rows: int, is_thorough: bool
    ) -> Iterator[Fault]:
        """Of a set that lies at the documented path, as earlier versions wrote it."""
        for name in formats if num_rows else ():
            folder = f"{self._folder}/{name}"
            yield from self._by_manifest(folder, f"{folder}/{MANIFEST}", is_thorough)

    def _by_manifest(self, folder: str, path: str, is_thorough: bool) -> Iterator[Fault]:
        manifest = _read_json(self._fs, path)
        if manifest is None or not isinstance(manifest.get("files"), list):
            yield path, "it is missing or cannot be read"
            return
        yield from self._compared(folder, folder, manifest["files"], MANIFEST, is_thorough)

    def _compared(
        self, root: str, folder: str, files: list[dict[str, Any]], last: str, is_thorough: bool
    ) -> Iterator[Fault]:
        """The files that a record or manifest names; `last` was written after all of them."""
        self._fs.invalidate_cache()
        infos = self._fs.find(folder, detail=True)
        made = _changed(infos.get(f"{folder}/{last}", {}))
        for file in files:
            path = f"{folder}/{file['name']}"
            info = infos.get(path)
            if info is None:
                yield path, "it is missing"
            elif info["size"] != file["size_bytes"]:
                yield path, f"it has {info['size']} of {file['size_bytes']} bytes"
            elif (is_thorough or _changed(info) > made) and (
                _sha256(self._fs, path) != file["sha256"]
            ):
                yield path, "its bytes do not match its sha256"
            elif path.endswith(f"/{MANIFEST}"):
                inside = path.rpartition("/")[0]
                yield from self._by_manifest(inside, path, is_thorough)


def _creator(fs: fsspec.AbstractFileSystem, folder: str) -> Create:
    @contextlib.contextmanager
    def create(name: str) -> Iterator[IO[bytes]]:
        with replacing(fs, f"{folder}/{name}") as sink:
            yield sink

    return create


def _read_json(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, Any] | None:
    """None where there is no such file or no such JSON."""
    fs.invalidate_cache()
    try:
        found = json.loads(fs.cat_file(path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _sha256(fs: fsspec.AbstractFileSystem, path: str) -> str:
    found = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            found.update(block)
    return found.hexdigest()


def _changed(info: dict[str, Any]) -> float:
    """When a file was written, in seconds since 1970; the names differ by filesystem."""
    for name in ("mtime", "LastModified", "last_modified", "created"):
        if name in info:
            value = info[name]
            return value.timestamp() if isinstance(value, datetime) else float(value)
    return 0.0
