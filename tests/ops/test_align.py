"""Photographs become crops with their origin, or rejects with a reason."""

import hashlib
from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from invertory.alignment import align_face
from invertory.images import decode, encode
from invertory.landmarks import Face
from invertory.ops.align import Align, CentreCrop
from invertory.ops.ingest import Ingest
from invertory.ops.schemas import ALIGNED, ENTRIES

ANCHORS = np.array([[100.0, 100.0], [160.0, 100.0], [105.0, 160.0], [155.0, 160.0]])


class Marks:
    """A detector that finds a face at each pure red square."""

    def detect(self, picture):
        ys, xs = np.nonzero((picture == (255, 0, 0)).all(axis=2))
        faces = []
        for y, x in zip(ys, xs, strict=True):
            size = int(picture[y, x + 1, 0]) + 1  # the pixel beside it tells the scale
            anchors = (ANCHORS - 100) * size / 60 + [x, y]
            faces.append(Face((x, y, x + size, y + size), 0.9, anchors))
        return sorted(faces, key=lambda face: -face.area)


def picture(*marks, height=400, width=420):
    pixels = np.full((height, width, 3), 90, np.uint8)
    for x, y, size in marks:
        pixels[y, x], pixels[y, x + 1] = (255, 0, 0), (size - 1, 0, 0)
    return encode(pixels)


FILES = {
    "one.png": picture((150, 150, 60)),
    "two.png": picture((60, 60, 20), (200, 150, 60)),
    "none.png": picture(),
    "small.png": picture((150, 150, 8)),
    "edge.png": picture((410, 2, 100)),
}


def images(*uris):
    rows = [{"uri": uri, "size_bytes": None, "modified": None} for uri in uris]
    return Ingest(FILES.__getitem__)(pa.RecordBatch.from_pylist(rows, schema=ENTRIES)).rows


def align(uris, **options):
    return Align(FILES.__getitem__, Marks(), 64, **options)(images(*uris))


def test_a_crop_records_its_image_its_face_and_its_transform():
    done = align(["one.png"])
    assert done.rows.schema == ALIGNED and done.rejects.num_rows == 0
    (row,) = done.rows.to_pylist()
    image_id = hashlib.sha256(FILES["one.png"]).hexdigest()
    assert (row["crop_id"], row["image_id"], row["uri"]) == (f"{image_id}:0", image_id, "one.png")
    assert (row["face_index"], row["num_faces"], row["size_px"]) == (0, 1, 64)
    anchors = np.array(row["anchors"]).reshape(4, 2)
    crop = align_face(decode(FILES["one.png"]).pixels, anchors, size_px=64)
    np.testing.assert_array_equal(
        np.asarray(Image.open(BytesIO(row["crop"]["bytes"]))), crop.pixels
    )
    np.testing.assert_allclose(np.array(row["crop_to_source"]).reshape(2, 3), crop.crop_to_source)
    np.testing.assert_allclose(np.array(row["quad"]).reshape(4, 2), crop.quad)


def test_the_largest_of_several_faces_is_used():
    (row,) = align(["two.png"]).rows.to_pylist()
    assert row["num_faces"] == 2 and row["anchors"][:2] == [200, 150]


def test_all_faces_are_numbered_by_decreasing_area():
    rows = align(["two.png"], faces="all").rows.to_pylist()
    assert [row["face_index"] for row in rows] == [0, 1]
    assert [row["anchors"][0] for row in rows] == [200, 60]


def test_an_unusable_face_is_rejected_under_its_crop_id():
    done = align(["two.png"], faces="all", min_face_px=100)
    (reject,) = done.rejects.to_pylist()
    assert done.rows.num_rows == 1
    assert reject["row_id"] == done.rows["image_id"][0].as_py() + ":1"
    assert reject["status"] == "face_too_small"


def test_max_faces_limits_the_rows_of_an_image():
    assert align(["two.png"], faces="all", max_faces=1).rows.num_rows == 1


@pytest.mark.parametrize(
    ("uri", "status"),
    [("none.png", "no_face"), ("small.png", "face_too_small"), ("edge.png", "outside_picture")],
)
def test_an_image_without_a_usable_face_is_one_reject(uri, status):
    done = align([uri], faces="all")
    (reject,) = done.rejects.to_pylist()
    assert done.rows.num_rows == 0 and done.num_inputs == 1
    assert (reject["row_id"], reject["uri"], reject["status"]) == (
        hashlib.sha256(FILES[uri]).hexdigest(), uri, status,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("now", "status"),
    [(FileNotFoundError("x"), "vanished"), (OSError("x"), "unreadable"), (b"other", "vanished")],
)
@pytest.mark.parametrize(
    "verb", [lambda read: Align(read, Marks(), 64), lambda read: CentreCrop(read, 64)]
)
def test_a_file_that_changed_since_ingest_is_rejected(verb, now, status):
    def read(uri):
        if isinstance(now, Exception):
            raise now
        return now

    done = verb(read)(images("one.png"))
    assert done.rows.num_rows == 0
    assert done.rejects["status"].to_pylist() == [status]


def test_rows_that_are_not_ok_are_skipped():
    FILES_WITH_BROKEN = FILES | {"empty.png": b""}
    rows = [{"uri": u, "size_bytes": None, "modified": None} for u in ("empty.png", "one.png")]
    batch = Ingest(FILES_WITH_BROKEN.__getitem__)(
        pa.RecordBatch.from_pylist(rows, schema=ENTRIES)
    ).rows
    done = Align(FILES.__getitem__, Marks(), 64)(batch)
    assert (done.num_inputs, done.rows.num_rows, done.rejects.num_rows) == (2, 1, 0)


def test_batches_of_one_give_the_rows_of_a_batch_of_all():
    whole = align(list(FILES), faces="all")
    single = [align([uri], faces="all") for uri in FILES]
    assert [r for d in single for r in d.rows.to_pylist()] == whole.rows.to_pylist()
    assert [r for d in single for r in d.rejects.to_pylist()] == whole.rejects.to_pylist()


def test_centre_crop_needs_no_face():
    done = CentreCrop(FILES.__getitem__, 50)(images("none.png", "one.png"))
    rows = done.rows.to_pylist()
    assert [row["num_faces"] for row in rows] == [0, 0] and rows[0]["anchors"] is None
    np.testing.assert_allclose(rows[0]["crop_to_source"], [8, 0, 13.5, 0, 8, 3.5])


def test_crops_can_be_kept_as_jpeg():
    (row,) = align(["one.png"], crop_format="jpeg").rows.to_pylist()
    assert row["crop"]["bytes"].startswith(b"\xff\xd8") and row["crop"]["path"].endswith("_0.jpeg")
