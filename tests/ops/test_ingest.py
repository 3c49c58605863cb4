"""Every file of a shard gets a row of `images`, even a broken one."""

import errno
import hashlib
from io import BytesIO

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from invertory.ops import streams
from invertory.ops.ingest import Ingest, first_uris
from invertory.ops.schemas import ENTRIES, IMAGES


def png(seed, size=64):
    noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


FILES = {
    "a.png": png(0),
    "b.png": png(1),
    "a again.png": png(0),
    "empty.png": b"",
    "text.png": b"hello",
    "small.png": png(2, 8),
    "gone.png": FileNotFoundError("gone.png"),
    "locked.png": PermissionError("locked.png"),
    "busy.png": BlockingIOError("busy.png"),
    "huge.png": OSError(errno.EFBIG, "longer than the source reads"),
    "odd.png": RuntimeError("a store's own error with a surrogate \udcff"),
}


def read(uri):
    content = FILES[uri]
    if isinstance(content, Exception):
        raise content
    return content


def entries(uris, with_sizes=True):
    sizes = {u: len(c) for u, c in FILES.items() if isinstance(c, bytes)} if with_sizes else {}
    rows = [{"uri": uri, "size_bytes": sizes.get(uri), "modified": None} for uri in uris]
    return pa.RecordBatch.from_pylist(rows, schema=ENTRIES)


def statuses(chunk):
    return dict(zip(chunk.rows["uri"].to_pylist(), chunk.rows["status"].to_pylist(), strict=True))


def test_every_file_has_a_row_with_its_status():
    batch = entries(FILES)
    done = Ingest(read, first_of=first_uris([batch], read))(batch)
    assert (done.num_inputs, done.rows.num_rows, done.rejects.num_rows) == (11, 11, 0)
    assert done.rows.schema == IMAGES
    assert statuses(done) == {
        "a.png": "ok",
        "b.png": "ok",
        "a again.png": "duplicate",
        "empty.png": "empty",
        "text.png": "not_an_image",
        "small.png": "too_small",
        "gone.png": "vanished",
        "locked.png": "denied",
        "busy.png": "unavailable",
        "huge.png": "too_large",
        "odd.png": "unreadable",
    }


def test_a_valid_row_describes_the_file():
    (row,) = Ingest(read)(entries(["a.png"])).rows.to_pylist()
    assert row == {
        "image_id": hashlib.sha256(FILES["a.png"]).hexdigest(),
        "uri": "a.png",
        "size_bytes": len(FILES["a.png"]),
        "format": "PNG",
        "mode": "RGB",
        "width_px": 64,
        "height_px": 64,
        "orientation": 1,
        "num_frames": 1,
        "status": "ok",
        "error": None,
    }


def test_a_duplicate_names_the_first_file():
    batch = entries(["a.png", "a again.png"])
    rows = Ingest(read, first_of=first_uris([batch], read))(batch).rows.to_pylist()
    assert [row["error"] for row in rows] == [None, "a.png"]
    assert rows[0]["image_id"] == rows[1]["image_id"]


def test_a_file_of_an_earlier_shard_makes_all_its_copies_duplicates():
    batch = entries(["a.png", "a again.png", "b.png"])
    known = {hashlib.sha256(FILES["a.png"]).hexdigest(): "shard 0/a.png"}
    done = Ingest(read, first_of=first_uris([batch], read), earlier=known.get)(batch)
    assert statuses(done) == {"a.png": "duplicate", "a again.png": "duplicate", "b.png": "ok"}


@pytest.mark.parametrize(
    ("commit_rows", "start"), [(1, 0), (1, 3), (2, 4), (4, 0), (4, 8), (100, 0)]
)
def test_rows_do_not_depend_on_chunks_or_on_where_a_shard_resumes(commit_rows, start):
    uris = ["a again.png", *FILES]
    first = first_uris([entries(uris)], read)
    whole = Ingest(read, first_of=first)(entries(uris)).rows.to_pylist()
    chunks = streams.run(
        Ingest(read, first_of=first), [entries(uris)], commit_rows=commit_rows, start=start
    )
    assert [row for chunk in chunks for row in chunk.rows.to_pylist()] == whole[start:]


def test_only_files_of_equal_size_are_read_for_duplicates():
    seen = []

    def reading(uri):
        seen.append(uri)
        return read(uri)

    first_uris([entries(["a.png", "empty.png", "a again.png", "text.png"])], reading)
    assert sorted(seen) == ["a again.png", "a.png"]


def test_without_sizes_all_files_are_read():
    first = first_uris([entries(FILES, with_sizes=False).select(["uri"])], read)
    assert first[hashlib.sha256(FILES["a.png"]).hexdigest()] == "a.png"
    assert len(first) == 5  # distinct files that could be read


def test_only_the_source_limits_bytes():
    row = entries(["a.png"]).to_pylist()[0] | {"size_bytes": 2**40}
    done = Ingest(read)(pa.RecordBatch.from_pylist([row], schema=ENTRIES))
    assert statuses(done) == {"a.png": "ok"}
    assert statuses(Ingest(read)(entries(["huge.png"]))) == {"huge.png": "too_large"}


def test_an_empty_batch_gives_an_empty_chunk():
    done = Ingest(read)(entries([]))
    assert (done.num_inputs, done.rows.num_rows) == (0, 0)


@pytest.mark.parametrize("error", [ConnectionResetError, TimeoutError, MemoryError, ImportError])
def test_an_unreachable_source_gives_no_row(error):
    def refuse(uri):
        raise error("out of reach")

    with pytest.raises(error):
        Ingest(refuse)(entries(["a.png", "b.png"]))
    with pytest.raises(error):
        first_uris([entries(["a.png", "a again.png"])], refuse)
