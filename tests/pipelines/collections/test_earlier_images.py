"""Images of earlier shards are recognised, with a few bytes of memory each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from invertory.ops.schemas import ENTRIES, IMAGES
from invertory.pipelines.collections.earlier_images import EarlierImages
from invertory.resources.tables import Store

PICTURES_A_SHARD = 300
FRESH = "shard-000004"


def image_id(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Counted(Store):
    """A store that counts which shards of which tables are read."""

    reads: list[tuple[str, str]]

    def read(
        self, table: str, shard: str, columns: Sequence[str] | None = None, batch_rows: int = 256
    ) -> Iterator[pa.RecordBatch]:
        self.reads.append((table, shard))
        return super().read(table, shard, columns, batch_rows)


def put(store: Store, table: str, shard: str, rows: list[dict[str, Any]], schema: Any) -> None:
    batch = pa.RecordBatch.from_pylist(
        [dict.fromkeys(schema.names) | row for row in rows], schema=schema
    )
    store.write(table, shard, [batch], schema=schema, key="0" * 64, footer={})


@pytest.fixture
def store(tmp_path: Path) -> Counted:
    """Three shards of images of 1000 bytes, then one without images."""
    store = Counted(str(tmp_path), "recipe")
    store.reads = []
    for number in range(1, 4):
        shard = f"shard-{number:06d}"
        names = [f"{number}/{i}" for i in range(PICTURES_A_SHARD)]
        rows = [
            {"uri": name, "image_id": image_id(name), "size_bytes": 1000, "status": "ok"}
            for name in names
        ]
        rows[1] |= {"size_bytes": 77}
        rows[2] |= {"status": "duplicate", "image_id": image_id("elsewhere")}
        rows[3] |= {"status": "vanished", "image_id": None, "size_bytes": None}
        put(store, "images", shard, rows, IMAGES)
    return store


def deal(store: Store, size_bytes: int | None) -> None:
    put(store, "entries", FRESH, [{"uri": "new", "size_bytes": size_bytes}], ENTRIES)


def test_a_copy_names_the_image_of_an_earlier_shard(store: Counted) -> None:
    deal(store, 1000)
    earlier = EarlierImages(store, FRESH)
    assert [earlier.uri(image_id(name)) for name in ("1/0", "3/299", "2/7", "new")] == [
        "1/0", "3/299", "2/7", None,
    ]  # fmt: skip


def test_twelve_bytes_are_held_per_image_of_a_matching_size(
    store: Counted,
) -> None:
    deal(store, 1000)
    assert EarlierImages(store, FRESH).num_bytes == 3 * (PICTURES_A_SHARD - 3) * 12
    deal_of_77 = Counted(store.base.rpartition("/")[0], "recipe")
    deal_of_77.reads = []
    put(deal_of_77, "entries", "shard-000005", [{"uri": "n", "size_bytes": 77}], ENTRIES)
    assert EarlierImages(deal_of_77, "shard-000005").num_bytes == 3 * 12


def test_an_unknown_size_matches_every_image(store: Counted) -> None:
    deal(store, None)
    earlier = EarlierImages(store, FRESH)
    assert earlier.uri(image_id("2/1")) == "2/1"
    assert earlier.num_bytes == 3 * (PICTURES_A_SHARD - 2) * 12


def test_later_shards_and_failed_rows_are_ignored(store: Counted) -> None:
    put(store, "entries", "shard-000002", [{"uri": "b", "size_bytes": 1000}], ENTRIES)
    earlier = EarlierImages(store, "shard-000002")
    assert earlier.uri(image_id("1/5")) == "1/5"
    assert [earlier.uri(image_id(name)) for name in ("2/5", "3/5", "elsewhere")] == [None] * 3


def test_tables_are_read_only_for_copies_and_once_if_in_order(
    store: Counted,
) -> None:
    deal(store, 1000)
    earlier = EarlierImages(store, FRESH)
    store.reads.clear()
    assert not any(earlier.uri(image_id(f"new/{i}")) for i in range(500))
    assert store.reads == []
    assert all(earlier.uri(image_id(f"2/{i}")) for i in range(10, 60))
    assert store.reads == [("images", "shard-000002")]


def test_ids_with_a_common_prefix_are_distinguished(store: Counted) -> None:
    alike = image_id("1/0")[:16] + "0" * 48
    put(store, "images", "shard-000000", [
        {"uri": "twin", "image_id": alike, "size_bytes": 1000, "status": "ok"}
    ], IMAGES)  # fmt: skip
    deal(store, 1000)
    earlier = EarlierImages(store, FRESH)
    found = [earlier.uri(name) for name in (alike, image_id("1/0"), alike[:-1] + "1")]
    assert found == ["twin", "1/0", None]
