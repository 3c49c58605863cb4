"""States lie in a file of their own, and a reader who asks for them has them in their rows."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from invertory.ops.schemas import REJECTS
from invertory.ops.streams import Chunk
from invertory.resources.tables import Published, Store

TABLE, SHARD = "latents/pti", "shard-000001"
PLAIN = pa.schema([pa.field("crop_id", pa.string(), False), pa.field("loss", pa.float32(), False)])
SCHEMA = pa.schema([*PLAIN, pa.field("state", pa.binary())])


def chunks(schema: pa.Schema, total: int, size: int = 50) -> Iterator[Chunk]:
    for first in range(0, total, size):
        numbers = range(first, min(first + size, total))
        made = [
            {"crop_id": f"{i}:0", "loss": float(i), "state": None if i == 7 else bytes([i % 256])}
            for i in numbers
        ]
        made = [{name: row[name] for name in schema.names} for row in made]
        rows = pa.RecordBatch.from_pylist(made, schema=schema)
        yield Chunk(len(numbers), rows, pa.RecordBatch.from_pylist([], schema=REJECTS))


def publish(store: Store, key: str, schema: pa.Schema = SCHEMA, total: int = 300) -> Published:
    return store.publish(
        TABLE,
        SHARD,
        schema=schema,
        key=key * 64,
        footer={},
        chunks=lambda start: chunks(schema, total),
        rejects_schema=REJECTS,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(str(tmp_path), "portraits")
    publish(found, "a")
    return found


def path_of(store: Store, aside: str = "") -> Path:
    return Path(store.base) / TABLE / aside / f"{SHARD}.parquet"


def test_the_tables_own_file_has_no_state(store: Store) -> None:
    assert pq.read_schema(path_of(store)).names == ["crop_id", "loss"]
    assert pq.read_schema(path_of(store, "_state")).names == ["crop_id", "state"]
    assert store.tables() == [TABLE]
    size = store.summary(TABLE, SHARD).size_bytes
    assert size == sum(path_of(store, aside).stat().st_size for aside in ("", "_state"))


@pytest.mark.parametrize("batch_rows", [7, 64, 256])
def test_both_are_read_as_one(store: Store, batch_rows: int) -> None:
    assert store.schema(TABLE, SHARD).names == SCHEMA.names
    batches = list(store.read(TABLE, SHARD, ["state", "crop_id"], batch_rows))
    read = [row for batch in batches for row in batch.to_pylist()]
    assert [batch.schema.names for batch in batches[:1]] == [["state", "crop_id"]]
    assert [row["crop_id"] for row in read] == [f"{i}:0" for i in range(300)]
    assert [row["state"] for row in read] == [
        None if i == 7 else bytes([i % 256]) for i in range(300)
    ]


def test_who_asks_for_all_columns_has_the_state_last(store: Store) -> None:
    table = store.table(TABLE, SHARD)
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 300


def test_a_reader_of_latents_alone_touches_one_file(store: Store) -> None:
    path_of(store, "_state").write_bytes(b"torn")
    assert sum(batch.num_rows for batch in store.read(TABLE, SHARD, ["loss"])) == 300


def test_a_state_of_another_key_is_refused(store: Store) -> None:
    old = path_of(store, "_state").read_bytes()
    publish(store, "b")
    path_of(store, "_state").write_bytes(old)
    with pytest.raises(ValueError, match="being published anew; read it again"):
        list(store.read(TABLE, SHARD, ["state"]))


def test_a_table_that_has_no_state_any_more_leaves_none_behind(store: Store) -> None:
    publish(store, "b", PLAIN)
    assert not path_of(store, "_state").exists()
    assert store.table(TABLE, SHARD).schema.equals(PLAIN)
