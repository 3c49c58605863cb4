"""The demo collections: photographs from published packages, and broken files.

A folder is created once on this host. The photographs come from files pinned by sha256 and are not
distributed with the project.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from invertory.pipelines.collections.hostile import escape_name, write_hostile
from invertory.resources.models import silent
from invertory.resources.pinned import PINNED

if TYPE_CHECKING:
    from invertory.pipelines.networks.resolve import Received
    from invertory.resources.models import ModelStore

CARDS = ("face-recognition-photos", "astronaut")
KEPT_NAMES = {"sound.jpg", "rotated.jpg", "new%0Aline.jpg"}
VERSION = "1"  # version of the contents of a folder
PORTRAIT_SEED, PORTRAIT_PX = 4, 512


def hostile(models: ModelStore, received: Received = silent) -> Path:
    """Return the folder of `demo://hostile`: a rendered portrait and all kinds of broken files."""
    folder = models.folder() / "collections" / f"hostile-{VERSION}"
    return folder if folder.is_dir() else _create_folder(folder, _write_portrait)


def photographs(models: ModelStore, received: Received = silent) -> Path:
    """Return the folder of `demo://photographs`; create it if it does not exist."""
    folder = models.folder() / "collections" / f"photographs-{VERSION}"
    if folder.is_dir():
        return folder
    files = [
        path
        for name in CARDS
        for path in models.fetch_all(PINNED[name].source, PINNED[name].sha256, progress=received)
    ]

    def write(target: Path) -> None:
        for path in files:
            shutil.copyfile(path, target / path.name)
        _write_hostile(target / "hostile", target / "astronaut.png", "ok")

    return _create_folder(folder, write)


def _write_portrait(target: Path) -> None:
    from invertory.images import encode
    from invertory.portraits import draw, render

    portrait = target.parent / "portrait.png"
    portrait.write_bytes(encode(render(draw(PORTRAIT_SEED), PORTRAIT_PX).image))
    _write_hostile(target, portrait, "ok", "no_face")


def _write_hostile(folder: Path, face: Path, *kept_statuses: str) -> None:
    """Write the files, but only a few with `kept_statuses`, as each of these costs an inversion."""
    statuses = write_hostile(folder, face)
    for path in folder.iterdir():
        name = escape_name(os.fsencode(path.name))
        if statuses.get(name) in kept_statuses and name not in KEPT_NAMES:
            path.unlink()


def _create_folder(folder: Path, write: Callable[[Path], None]) -> Path:
    """Create a folder with the output of `write`, either completely or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        target = Path(scratch) / "made"
        target.mkdir()
        write(target)
        target.rename(folder)
    return folder
