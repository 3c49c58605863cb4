"""Files become entries once, despite a touch or a lost table, and numbers are never reused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from invertory.ops.schemas import ENTRIES, IMAGES
from invertory.pipelines.collections.intake import deal_new
from invertory.resources.entries import Entry
from invertory.resources.seals import CorruptFileError
from invertory.resources.tables import Store


@dataclass
class Files:
    """A collection: name => (bytes, modification time)."""

    held: dict[str, tuple[bytes, int]]
    read_uris: list[str] = field(default_factory=list)

    def entries(self) -> Iterator[Entry]:
        for uri, (data, time) in sorted(self.held.items()):
            yield Entry(uri, len(data), f"2026-01-01T00:00:{time:02d}+00:00")

    def stored(self, uri: str) -> str:
        return uri

    def read(self, uri: str) -> bytes:
        self.read_uris.append(uri)
        return self.held[uri][0]

    def touch(self, *uris: str) -> None:
        for uri in uris:
            data, time = self.held[uri]
            self.held[uri] = data, time + 1


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "toy")


@pytest.fixture
def files() -> Files:
    return Files({f"{i}.png": (b"image %d" % i, 0) for i in range(6)})


def deal(store: Store, files: Any, **options: Any) -> list[str]:
    return deal_new(store, files, 3, **options)


def ingest(store: Store, files: Files) -> None:
    """The images of every shard, as the stage of images computes them."""
    for shard in store.shards("entries"):
        rows = []
        for entry in store.table("entries", shard).to_pylist():
            data = files.held[entry["uri"]][0]
            row = dict.fromkeys(IMAGES.names) | {"uri": entry["uri"], "size_bytes": len(data)}
            rows.append(row | {"image_id": hashlib.sha256(data).hexdigest(), "status": "ok"})
        inputs = json.dumps([["entries", shard, store.key("entries", shard)]])
        batch = pa.RecordBatch.from_pylist(rows, schema=IMAGES)
        store.write("images", shard, [batch], schema=IMAGES, key="i" * 64,
                    footer={"inputs": inputs})  # fmt: skip


def uris(store: Store, shard: str) -> list[str]:
    return store.table("entries", shard).column("uri").to_pylist()


def test_touched_files_are_not_new_and_are_read_once(store: Store, files: Files) -> None:
    assert deal(store, files) == ["shard-000001", "shard-000002"]
    assert files.read_uris == []
    ingest(store, files)
    files.touch("1.png", "4.png")
    assert deal(store, files) == deal(store, files) == []
    assert sorted(files.read_uris) == ["1.png", "4.png"]
    files.touch("1.png", "2.png")
    assert deal(store, files) == deal(store, files) == []
    assert sorted(files.read_uris) == ["1.png", "1.png", "2.png", "4.png"]


def test_changed_bytes_are_a_new_entry_and_reverting_them_is_not(
    store: Store, files: Files
) -> None:
    deal(store, files)
    ingest(store, files)
    old = files.held["1.png"]
    files.held["1.png"] = b"another", 5
    files.touch("2.png")
    assert deal(store, files) == ["shard-000003"]
    assert uris(store, "shard-000003") == ["1.png"]
    ingest(store, files)
    files.held["1.png"] = old[0], 7
    assert deal(store, files) == []


def test_a_file_without_an_image_row_waits(store: Store, files: Files) -> None:
    deal(store, files)
    files.touch("1.png")
    assert deal(store, files) == []
    assert files.read_uris == []


def test_a_file_that_was_unreadable_is_a_new_entry(store: Store, files: Files) -> None:
    deal(store, files)
    rows = [dict.fromkeys(IMAGES.names) | {"uri": "1.png", "status": "unreadable"}]
    store.write("images", "shard-000001", [pa.RecordBatch.from_pylist(rows, schema=IMAGES)],
                schema=IMAGES, key="i" * 64, footer={})  # fmt: skip
    files.touch("1.png")
    assert deal(store, files) == ["shard-000003"]


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("harm", ["lost", "cut", "rotten"])
def test_missing_entries_are_restored_under_their_key(store, files, number: int, harm: str) -> None:
    deal(store, files)
    ingest(store, files)
    shard = f"shard-00000{number}"
    key, listed = store.key("entries", shard), uris(store, shard)
    path = Path(store.path("entries", shard))
    data = bytearray(path.read_bytes())
    data[20] ^= 4
    path.write_bytes(data[:-7] if harm == "cut" else data)
    if harm == "lost":
        path.unlink()
    files.held["9.png"] = b"new", 0
    assert deal(store, files) == ["shard-000003"]
    assert uris(store, "shard-000003") == ["9.png"]
    assert (store.key("entries", shard), uris(store, shard)) == (key, listed)
    ingest(store, files)
    assert deal(store, files) == []


def test_numbers_of_missing_shards_are_not_reused(store: Store, files: Files) -> None:
    deal(store, files)
    ingest(store, files)
    schema = pa.schema([pa.field("crop_id", pa.string(), False)])
    store.write("latents/pti", "shard-000007", [], schema=schema, key="l" * 64, footer={})
    with pytest.raises(CorruptFileError, match=r"shard-000007.*latents/pti still have the shard"):
        deal(store, files)
    Path(store.path("latents/pti", "shard-000007")).unlink()
    Path(store.path("entries", "shard-000002")).unlink()
    Path(store.path("images", "shard-000002")).unlink()
    assert deal(store, files) == ["shard-000002"]  # nothing of it is left


def test_intake_in_portions_gives_the_same_shards(store: Store, files: Files) -> None:
    assert deal(store, files, max_shards=1) == ["shard-000001"]
    assert deal(store, files, max_shards=1) == ["shard-000002"]
    assert deal(store, files) == []
    assert uris(store, "shard-000002") == ["3.png", "4.png", "5.png"]
    assert store.schema("entries", "shard-000001").equals(ENTRIES)


def test_what_a_killed_intake_left_is_removed_by_the_next_one(store, files, tmp_path):
    left = tmp_path / "toy/entries/_unchanged/.marks.parquet.0123456789ab.tmp"
    left.parent.mkdir(parents=True)
    left.touch()
    deal(store, files)
    assert not left.exists()
