"""The whole chain on a folder with everything that can be wrong, by the commands a user gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from invertory.pipelines.collections.hostile import write_hostile


def write_portrait(path: Path) -> Path:
    """An oval with eyes and a mouth on a grainy gradient: a photograph of a kind."""
    grain = np.random.default_rng(0).normal(0, 8, (320, 320, 3))
    ramp = np.linspace(40, 220, 320)[None, :, None] + grain
    picture = Image.fromarray(ramp.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((80, 40, 240, 280), fill=(224, 172, 140))
    for box in ((120, 120, 145, 140), (175, 120, 200, 140), (130, 210, 190, 225)):
        draw.ellipse(box, fill=(60, 30, 30))
    picture.save(path)
    return path


@pytest.fixture(scope="session")
def num_drawn() -> int:
    """Sound pictures beside the hostile files."""
    return 24


@pytest.fixture(scope="session")
def short_recipe(whole_recipe) -> Callable[..., dict[str, Any]]:
    """The recipe up to the latents."""
    later = {"attributes", "boundaries", "edits", "augmentation", "export"}

    def short(*given: str) -> dict[str, Any]:
        return {name: part for name, part in whole_recipe(*given).items() if name not in later}

    return short


@pytest.fixture(scope="session")
def finished(tmp_path_factory, open_place, draw_pictures, whole_recipe, num_drawn):
    """(the folder of a finished run, what became of each hostile file, what the run told)."""
    folder = tmp_path_factory.mktemp("finished")
    expected = write_hostile(folder / "pictures/hostile", write_portrait(folder / "portrait.png"))
    draw_pictures(folder / "pictures", num_drawn)
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = open_place(folder, monkeypatch)
        place.write(whole_recipe())
        told = place.run()
    return folder, expected | {"no_face.png": "ok"}, told  # centre crops need no face


@pytest.fixture
def copy(finished, tmp_path, monkeypatch, open_place):
    """A copy of the finished folder, to do with as one likes."""
    shutil.copytree(finished[0], tmp_path / "copy", symlinks=True)
    return open_place(tmp_path / "copy", monkeypatch)
