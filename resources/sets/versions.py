"""The versions of a method's exported set, of which one is current."""

import contextlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
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
from invertory.resources.sets.records import (
    NAME_CHARS,
    Fault,
    faults_by_manifest,
    faults_by_record,
    read_json,
    write_record,
)
from invertory.resources.sets.removal import discard, remove_old

VERSIONS, CURRENT = "_versions", "current"
EARLIER = "earlier"  # folder of a set that an earlier version wrote
Create = Callable[[str], Any]  # name in the set => a context that gives a binary sink


class SetVersions:
    """The sets of one method, of which one is current."""

    def __init__(self, fs: fsspec.AbstractFileSystem, folder: str) -> None:
        self._fs, self._folder = fs, folder
        self._versions = f"{folder}/{VERSIONS}"

    def current(self) -> str | None:
        """The folder of the current set; None where there is none."""
        if is_local(self._fs):
            link = Path(self._folder) / CURRENT
            return f"{self._folder}/{link.readlink()}" if link.is_symlink() else None
        pointer = read_json(self._fs, f"{self._folder}/{CURRENT}.json")
        return f"{self._folder}/{pointer['folder']}" if pointer else None

    def faults(
        self, key: str, formats: Sequence[str], num_rows: int, *, is_thorough: bool = False
    ) -> Iterator[Fault]:
        """What is missing, cut or changed in the set of this key, if it is the current one."""
        folder = self.current()
        if folder is None:  # a set of an earlier version lies at the documented path
            for name in formats if num_rows else ():
                path = f"{self._folder}/{name}"
                yield from faults_by_manifest(self._fs, path, is_thorough=is_thorough)
            return
        yield from faults_by_record(self._fs, folder, key, formats, is_thorough=is_thorough)
        if is_local(self._fs):
            for name in formats:
                if not (link := Path(self._folder) / name).exists():
                    yield str(link), "it is missing"

    def publish(self, key: str, formats: Sequence[str], write: Callable[[Create], None]) -> None:
        """Make the set of `key` current; `write` writes its files unless they are there."""
        if is_local(self._fs):
            sweep_folders(Path(self._folder))
            sweep_folders(Path(self._versions))
        version = self._find_sound(key, formats) or self._write(key, formats, write)
        self._make_current(version, formats)
        remove_old(self._fs, self._versions, version)

    def _find_sound(self, key: str, formats: Sequence[str]) -> str | None:
        for folder in list_folder(self._fs, self._versions):
            name = folder.rstrip("/").rsplit("/", 1)[-1]
            if name.startswith(key[:NAME_CHARS]) and self._is_sound(folder, key, formats):
                return folder
        return None

    def _is_sound(self, folder: str, key: str, formats: Sequence[str]) -> bool:
        return not any(faults_by_record(self._fs, folder, key, formats, is_thorough=True))

    def _write(self, key: str, formats: Sequence[str], write: Callable[[Create], None]) -> str:
        """The folder of a new version, verified."""
        name = key[:NAME_CHARS]
        with self._new_folder(name) as folder:
            write(_creator(self._fs, folder))
            write_record(self._fs, folder, key, formats)
            for path, reason in faults_by_record(self._fs, folder, key, formats, is_thorough=True):
                raise OSError(f"expected {path} as it was just written, but {reason}; run again")
            if not is_local(self._fs):
                return folder
            return self._rename(Path(folder), name, key, formats)

    @contextlib.contextmanager
    def _new_folder(self, name: str) -> Iterator[str]:
        if is_local(self._fs):
            with temporary_folder(Path(self._versions), name) as path:
                yield str(path)
            return
        yield f"{self._versions}/{name}-{uuid.uuid4().hex[:8]}"

    def _rename(self, folder: Path, name: str, key: str, formats: Sequence[str]) -> str:
        """Give the finished folder its name; a sound one that has it already wins."""
        target = folder.with_name(name)
        while True:
            try:
                rename_folder(folder, target)
                return str(target)
            except OSError:
                if not target.is_dir():
                    raise
            if self._is_sound(str(target), key, formats):
                return str(target)
            discard(self._fs, self._versions, str(target))

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
        """The documented path to a format; a folder of an earlier version is moved away."""
        target = f"{CURRENT}/{link.name}"
        if link.is_symlink() and str(link.readlink()) == target:
            return
        if link.is_dir() and not link.is_symlink():
            kept = Path(self._versions) / EARLIER / link.name
            discard(self._fs, self._versions, str(kept))
            kept.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                link.rename(kept)
        replace_link(link, target)


def _creator(fs: fsspec.AbstractFileSystem, folder: str) -> Create:
    @contextlib.contextmanager
    def create(name: str) -> Iterator[IO[bytes]]:
        with replacing(fs, f"{folder}/{name}") as sink:
            yield sink

    return create
