"""Every kind of troublesome file gets its expected status."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from invertory.landmarks import YuNetMediaPipe
from invertory.ops.align import Align
from invertory.ops.ingest import Ingest, first_uris
from invertory.ops.schemas import ENTRIES
from invertory.pipelines.collections.hostile import escape_name, write_hostile
from invertory.resources.entries import decode
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

SHARED = (Path(__file__).resolve().parents[3] / "../shared").resolve()


def ingest(folder, names):
    def read(uri):
        return (folder / decode(uri)).read_bytes()

    rows = [{"uri": name, "size_bytes": None, "modified": None} for name in names]
    entries = pa.RecordBatch.from_pylist(rows, schema=ENTRIES)
    return read, Ingest(read, first_of=first_uris([entries], read))(entries).rows


def portrait(folder):
    """Any photograph works without face detection."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    path = folder / "portrait.png"
    Image.fromarray(noise).resize((700, 700), Image.Resampling.BICUBIC).save(path)
    return path


def test_every_file_gets_its_status_from_ingest(tmp_path):
    expected = write_hostile(tmp_path / "files", portrait(tmp_path))
    _, rows = ingest(tmp_path / "files", expected)
    got = dict(zip(rows["uri"].to_pylist(), rows["status"].to_pylist(), strict=True))
    assert got == expected | {"no_face.png": "ok"}


def test_the_folder_contains_exactly_the_named_files(tmp_path):
    expected = write_hostile(tmp_path / "files", portrait(tmp_path))
    listed = {escape_name(os.fsencode(path.name)) for path in (tmp_path / "files").iterdir()}
    assert listed == set(expected) and len(expected) == 33


@pytest.mark.download
def test_every_valid_file_gives_a_crop_and_the_gradient_none(tmp_path):
    photograph = SHARED / "data/frll/020_03.jpg"
    if not photograph.is_file():
        pytest.skip("../shared/data/frll is absent: no face to look for")
    try:
        yunet, landmarker = (
            ModelStore().fetch(PINNED[name].source) for name in ("yunet", "face-landmarker")
        )
    except Exception as error:
        pytest.skip(f"the face detector's weights could not be had: {error}")
    expected = write_hostile(tmp_path / "files", photograph)
    read, rows = ingest(tmp_path / "files", expected)
    with YuNetMediaPipe(yunet, landmarker) as detector:
        done = Align(read, detector, 64)(rows)
    sound = {name for name, status in expected.items() if status == "ok"}
    assert set(done.rows["uri"].to_pylist()) == sound
    assert done.rejects.select(["uri", "status"]).to_pylist() == [
        {"uri": "no_face.png", "status": "no_face"}
    ]
