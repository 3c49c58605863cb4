"""The demo's collection: photographs that packages ship, and among them files that are broken.

The folder is made once on this host, from files pinned by sha256; nothing of it is ours to ship.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.hostile import escape_name, write_hostile
from resources.models import silent
from resources.pinned import PINNED

if TYPE_CHECKING:
    from pipelines.networks import Received
    from resources.models import ModelStore

CARDS = ("face-recognition-photos", "astronaut")
SOUND = {"sound.jpg", "rotated.jpg", "new%0Aline.jpg"}
VERSION = "1"  # of the folder's content


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
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".photographs-") as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        for path in files:
            shutil.copyfile(path, made / path.name)
        statuses = write_hostile(made / "hostile", made / "astronaut.png")
        for path in (made / "hostile").iterdir():
            name = escape_name(os.fsencode(path.name))
            if statuses.get(name) == "ok" and name not in SOUND:  # each costs an inversion
                path.unlink()
        made.rename(folder)
    return folder
