"""The demos' collections: photographs that packages ship, and files that are broken.

A folder is made once on this host. Photographs come from files pinned by sha256; nothing of them
is ours to ship.
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
SOUND = {"sound.jpg", "rotated.jpg", "new%0Aline.jpg"}
VERSION = "1"  # of a folder's content
PORTRAIT_SEED, PORTRAIT_PX = 4, 512


def hostile(models: ModelStore, received: Received = silent) -> Path:
    """The folder of `demo://hostile`: a drawn portrait, and all that can be wrong with a file."""
    folder = models.folder() / "collections" / f"hostile-{VERSION}"
    return folder if folder.is_dir() else _made(folder, _write_portrait)


def photographs(models: ModelStore, received: Received = silent) -> Path:
    """The folder of `demo://photographs`, made if it is not there."""
    folder = models.folder() / "collections" / f"photographs-{VERSION}"
    if folder.is_dir():
        return folder
    files = [
        path
        for name in CARDS
        for path in models.fetch_all(PINNED[name].source, PINNED[name].sha256, progress=received)
    ]

    def write(made: Path) -> None:
        for path in files:
            shutil.copyfile(path, made / path.name)
        _write_hostile(made / "hostile", made / "astronaut.png", "ok")

    return _made(folder, write)


def _write_portrait(made: Path) -> None:
    from invertory.images import encode
    from invertory.portraits import draw, render

    portrait = made.parent / "portrait.png"
    portrait.write_bytes(encode(render(draw(PORTRAIT_SEED), PORTRAIT_PX).image))
    _write_hostile(made, portrait, "ok", "no_face")


def _write_hostile(folder: Path, face: Path, *sound: str) -> None:
    """The files, of those whose status is among `sound` only a few: each costs an inversion."""
    statuses = write_hostile(folder, face)
    for path in folder.iterdir():
        name = escape_name(os.fsencode(path.name))
        if statuses.get(name) in sound and name not in SOUND:
            path.unlink()


def _made(folder: Path, write: Callable[[Path], None]) -> Path:
    """The folder with what `write` puts there; it is whole, or it is not there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        write(made)
        made.rename(folder)
    return folder
