"""A shard of which a file is lost or broken is not done; what broke is named and made again."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from invertory.ops.schemas import REJECTS
from invertory.ops.streams import Chunk, reject
from invertory.resources.footers import RESERVED
from invertory.resources.seals import CHECKSUMS, SEAL, CorruptFileError
from invertory.resources.tables import Published, Store
from invertory.resources.verification import check_store, set_aside

TABLE, SHARD = "latents/pti", "shard-000001"
SCHEMA = pa.schema([
    pa.field("crop_id", pa.string(), False),
    pa.field("loss", pa.float32(), False),
    pa.field("state", pa.binary()),
])  # fmt: skip


def chunks(start: int = 0) -> Iterator[Chunk]:
    for first in range(start, 60, 20):
        made = [{"crop_id": f"{i}:0", "loss": float(i), "state": random.Random(i).randbytes(30)}
                for i in range(first, first + 19)]  # fmt: skip
        lost = [reject(str(first + 19), "failed", "out of luck")]
        yield Chunk(20, pa.RecordBatch.from_pylist(made, schema=SCHEMA),
                    pa.RecordBatch.from_pylist(lost, schema=REJECTS))  # fmt: skip


def publish(store: Store, shard: str = SHARD, key: str = "a") -> Published:
    return store.publish(TABLE, shard, schema=SCHEMA, key=key * 64, footer={"method": "pti"},
                         chunks=chunks, rejects_schema=REJECTS)  # fmt: skip


def path_of(store: Store, folder: str = "", shard: str = SHARD) -> Path:
    return Path(store.base) / TABLE / folder / f"{shard}.parquet"


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def findings(store: Store) -> list[Path]:
    return [Path(found.path) for found in check_store(store) if found.reason]


def as_written_before(store: Store, shard: str = SHARD) -> None:
    """The shard's files without checksums, as earlier versions wrote them."""
    for folder in ("", "_rejects", "_state"):
        path = path_of(store, folder, shard)
        table = pq.read_table(path)
        new = {CHECKSUMS, SEAL, "invertory.siblings", "ARROW:schema"}
        footer = pq.read_metadata(path).metadata.items()
        kept = {name: text for name, text in footer if name.decode() not in new}
        pq.write_table(table.replace_schema_metadata(kept), path)


@pytest.fixture
def done(tmp_path: Path) -> Store:
    store = Store(str(tmp_path), "portraits")
    publish(store)
    return store


@pytest.mark.parametrize("folder", ["_rejects", "_state"])
@pytest.mark.parametrize("harm", ["lost", "cut", "replaced"])
def test_a_shard_without_its_siblings_is_not_done(done: Store, folder: str, harm: str) -> None:
    path = path_of(done, folder)
    if harm == "lost":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        publish(done, "shard-000002", "b")
        table = pq.read_table(path)
        pq.write_table(table.slice(1), path)
    assert done.key(TABLE, SHARD) is None
    assert findings(done) == [path]
    assert not publish(done).reused
    assert (done.key(TABLE, SHARD), findings(done)) == ("a" * 64, [])


@pytest.mark.parametrize("folder", ["", "_rejects", "_state"])
@pytest.mark.parametrize("seed", range(5))
def test_every_flipped_bit_is_found_and_repaired(done: Store, folder: str, seed: int) -> None:
    path = path_of(done, folder)
    whole = path.read_bytes()
    for bit in random.Random(seed).sample(range(len(whole) * 8), 20):
        flip(path, bit)
        assert findings(done) == [path]
        assert set_aside(done, str(path))
        assert done.key(TABLE, SHARD) is None
        path.write_bytes(whole)


def test_a_sound_file_is_not_set_aside(done: Store) -> None:
    assert set_aside(done, str(path_of(done))) is None
    assert set_aside(done, str(path_of(done, "_nothing"))) is None
    assert done.key(TABLE, SHARD) == "a" * 64


def test_a_file_set_aside_is_no_table(done: Store) -> None:
    flip(path_of(done), 50 * 8)
    with pytest.raises(CorruptFileError) as caught:
        list(done.read(TABLE, SHARD))
    assert str(path_of(done)) in str(caught.value)
    assert set_aside(done, caught.value.path)
    assert done.tables() == []
    publish(done)
    assert done.tables() == [TABLE]


def test_files_of_earlier_versions_stay_done(done: Store) -> None:
    as_written_before(done)
    assert done.key(TABLE, SHARD) == "a" * 64
    assert findings(done) == []
    assert publish(done).reused


@pytest.mark.parametrize("folder", ["_rejects", "_state"])
def test_files_of_earlier_versions_without_siblings_are_not_done(done: Store, folder: str) -> None:
    publish(done, "shard-000002")
    for shard in (SHARD, "shard-000002"):
        as_written_before(done, shard)
    path_of(done, folder).unlink()
    assert done.key(TABLE, SHARD) is None
    assert done.key(TABLE, "shard-000002") == "a" * 64
    assert findings(done) == [path_of(done, folder)]


def test_a_chunk_that_rotted_is_made_again(tmp_path: Path) -> None:
    store = Store(str(tmp_path), "portraits")

    def two(start: int) -> Iterator[Chunk]:
        for _, chunk in zip(range(2), chunks(start), strict=False):
            yield chunk
        raise RuntimeError

    with pytest.raises(RuntimeError):
        store.publish(TABLE, SHARD, schema=SCHEMA, key="a" * 64, footer={}, chunks=two,
                      rejects_schema=REJECTS)  # fmt: skip
    part = next(tmp_path.rglob("_parts/*/000000020-000020.parquet"))
    flip(part, 60 * 8)
    assert publish(store).num_rows == 57
    assert findings(store) == []
    assert not list(tmp_path.rglob("_parts/*"))


def test_footer_keys_of_the_store_are_reserved() -> None:
    assert {"siblings", "checksums", "seal"} <= RESERVED


def race(root: str, number: int) -> None:
    store = Store(root, "portraits")
    for key in "ab" if number % 2 else "ba":
        publish(store, key=key)
        store.tidy(TABLE)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_processes_with_different_keys_leave_a_whole_shard(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for trial in range(6):
        root = str(tmp_path / str(trial))
        processes = [context.Process(target=race, args=(root, i)) for i in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0] * 4
        store = Store(root, "portraits")
        assert store.key(TABLE, SHARD) in {"a" * 64, "b" * 64}
        assert findings(store) == []
        assert store.table(TABLE, SHARD).num_rows == 57
        assert not [name for _, _, names in os.walk(root) for name in names if name[0] == "."]
