"""A package index on disk, archives, and an empty model store."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from invertory.resources import pypi
from invertory.resources.models import ModelStore


def pack_files(path: Path, files: dict[str, bytes], links: dict[str, str] | None = None) -> Path:
    """An archive of the type given by its name; only a tar has links."""
    if path.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(path, "w") as file:
            for name, content in files.items():
                file.writestr(name, content)
        return path
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return path


@pytest.fixture(scope="session")
def pack() -> Callable[..., Path]:
    return pack_files


@pytest.fixture(scope="session")
def weights() -> bytes:
    return b"weights" * 1000


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: bytes) -> Iterator[Path]:
    """A package index on disk with a wheel and an sdist of `toy` 1.0."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    folder = tmp_path / "simple" / "toy"
    folder.mkdir(parents=True)
    pack_files(folder / "toy-1.0-py3-none-any.whl", {"toy/a.bin": weights, "toy/b.bin": b"b"})
    boom = b"raise SystemExit('setup.py was run')"
    files = {"toy-1.0/setup.py": boom, "toy-1.0/toy/a.bin": weights[::-1]}
    pack_files(folder / "toy-1.0.tar.gz", files)
    anchors = (f'<a href="{p.name}">{p.name}</a>' for p in sorted(folder.iterdir()))
    (folder / "index.html").write_text("<html>" + "".join(anchors) + "</html>")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "simple").as_uri())
    monkeypatch.setattr(pypi, "BACKOFF_S", 0.0)
    yield folder


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(cache=str(tmp_path / "cache"))
