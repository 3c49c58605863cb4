"""Members of a wheel or an sdist, read without installing it or running its code."""

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
    """Return the sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def members(archive: Path) -> dict[str, int]:
    """Return the size in bytes by name, without the top folder of an sdist."""
    with _open_archive(archive) as entries:
        return {name: size for name, size, _ in entries}


def extract(archive: Path, names: Iterable[str], folder: Path) -> dict[str, Path]:
    """Extract the named members to `folder`; files that exist already are kept."""
    targets = {name: folder / check_member(name) for name in names}
    missing = {name for name, path in targets.items() if not path.is_file()}
    if missing:
        with _open_archive(archive) as entries:
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


def check_member(name: str) -> str:
    """Return `name` if it stays inside the target folder; raise ValueError otherwise."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name:
        raise ValueError(
            f"expected a member inside its archive, got {name!r}; do not use this archive"
        )
    return name


Entry = tuple[str, int, Callable[[], IO[bytes]]]


@contextlib.contextmanager
def _open_archive(archive: Path) -> Iterator[Iterator[Entry]]:
    """Yield (name, size in bytes, opener) of every regular file, in the order of the archive."""
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
        if info.isreg():  # skips links and devices

            def opener(info: tarfile.TarInfo = info) -> IO[bytes]:
                content = file.extractfile(info)
                if content is None:
                    raise OSError(f"{info.name} of {file.name!r} is not a regular file")
                return content

            yield _without_top(info.name), info.size, opener


def _without_top(name: str) -> str:
    return name.partition("/")[2]


def _write(opener: Callable[[], IO[bytes]], path: Path) -> None:
    with opener() as source, replacing_file(path) as target:
        shutil.copyfileobj(source, target, BLOCK_BYTES)
