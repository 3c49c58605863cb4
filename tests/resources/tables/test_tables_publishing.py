"""A shard is published whole under its key, or not at all, on every filesystem."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from invertory.ops.streams import Chunk
from invertory.resources.tables.chunks import ChunkFile, ChunkFiles


def test_published_rows_and_rejects_come_back(store, latents):
    done = latents.publish(store, latents.chunks(45, 10))
    expected = [latents.chunk(i, 10 if i < 40 else 5) for i in range(0, 45, 10)]
    made, lost = latents.read(store)
    assert made == [line for part in expected for line in part.rows.to_pylist()]
    assert lost == [line for part in expected for line in part.rejects.to_pylist()]
    assert (done.num_rows, done.rejects, done.reused) == (40, {"failed": 5}, False)
    assert done.size_bytes == store.fs.size(store.fs._strip_protocol(done.uri))
    assert latents.files(store) == ["_rejects/shard-000001.parquet", "shard-000001.parquet"]


def test_footer_tells_key_counts_and_what_was_passed(store, latents):
    latents.publish(store, latents.chunks(20, 10))
    footer = store.footer("latents/toy", "shard-000001") or {}
    assert footer["key"] == store.key("latents/toy", "shard-000001") == latents.key
    assert (footer["table"], footer["shard"]) == ("latents/toy", "shard-000001")
    assert (footer["num_inputs"], json.loads(footer["rejects"])) == ("20", {"failed": 2})
    assert footer["space"] == "w_plus"
    assert float(footer["elapsed_s"]) >= 0
    assert store.num_rows("latents/toy", "shard-000001") == 18


def test_same_key_makes_nothing(store, latents):
    first = latents.publish(store, latents.chunks(20, 10))
    second = latents.publish(store, lambda start: pytest.fail("made again"))
    assert second.reused
    assert (second.key, second.num_rows, second.uri) == (first.key, first.num_rows, first.uri)


def test_other_key_replaces(store, latents):
    latents.publish(store, latents.chunks(20, 10))
    assert not latents.publish(store, latents.chunks(10, 10), key="f" * 64).reused
    assert store.num_rows("latents/toy", "shard-000001") == 9
    assert store.rejects("latents/toy", "shard-000001").num_rows == 1


def test_batches_that_fail_midway_publish_nothing(store, latents):
    def batches() -> Iterator[pa.RecordBatch]:
        yield latents.rows(0, 300)
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        latents.write(store, batches(), "samples")
    assert latents.files(store) == []


@pytest.mark.parametrize("store", ["memory", "s3"], indirect=True)
def test_a_put_that_fails_publishes_nothing(store, monkeypatch, latents):
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.fs, "put_file", refuse)
        patch.setattr(store.fs, "pipe_file", refuse)
        with pytest.raises(OSError, match="No space"):
            latents.publish(store, latents.chunks(45, 10))
    assert latents.files(store) == []
    assert latents.publish(store, latents.chunks(45, 10)).num_rows == 40


def test_no_temporary_file_stays(store, tmp_path, monkeypatch, latents):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    latents.publish(store, latents.chunks(45, 10))
    assert not list(tmp_path.rglob("*.tmp"))


def test_empty_tables_keep_their_columns(store, latents):
    done = latents.publish(store, latents.chunks(0, 10))
    assert (done.num_rows, done.rejects) == (0, {})
    assert store.table("latents/toy", "shard-000001").schema.equals(latents.schema)
    assert store.table("latents/toy", "shard-000001", ["loss"]).schema.names == ["loss"]


def test_a_chunk_is_written_while_the_next_is_made(local, monkeypatch, latents):
    """Committing waits here until the next chunk has been begun: it can only be by then."""
    begun = [threading.Event() for _ in range(4)]
    commit = ChunkFiles.commit

    def after_the_next(self: ChunkFiles, start: int, *rest: Any) -> ChunkFile:
        if start < 20:
            assert begun[start // 10 + 1].wait(10)
        return commit(self, start, *rest)

    def after(start: int) -> Iterator[Chunk]:
        for first in range(start, 30, 10):
            begun[first // 10].set()
            yield latents.chunk(first, 10)

    monkeypatch.setattr(ChunkFiles, "commit", after_the_next)
    assert latents.publish(local, after).num_rows == 27


def test_a_chunk_that_cannot_be_written_ends_the_making(local, latents):
    closed: list[bool] = []

    def endless(start: int) -> Iterator[Chunk]:
        try:
            while True:
                lost = latents.chunk(0, 10).rejects
                yield Chunk(10, lost, lost)  # no rows of the table
        finally:
            closed.append(True)

    with pytest.raises(ValueError, match="rows do not fit their table"):
        latents.publish(local, endless)
    assert closed == [True]
