"""A shard with rows to retry is published, and computed again until there are none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from invertory.ops import schemas
from invertory.ops.streams import Chunk, chunk, reject
from invertory.resources.provisional import base_key, is_provisional
from invertory.resources.tables import Published, Store

KEY = "0123456789abcdef" * 4
RETRY = frozenset({"denied"})
SCHEMA = pa.schema([pa.field("crop_id", pa.string(), nullable=False)])


class Source:
    """Six inputs in chunks of two; those in `denied` become rejects."""

    def __init__(self, *denied: int, dies_at: int = 6) -> None:
        self.denied, self.dies_at = set(denied), dies_at
        self.read: list[int] = []

    def __call__(self, start: int) -> Iterator[Chunk]:
        for first in range(start, 6, 2):
            if first >= self.dies_at:
                raise RuntimeError("killed")
            numbers = [first, first + 1]
            self.read += numbers
            rows = [{"crop_id": str(n)} for n in numbers if n not in self.denied]
            lost = [reject(str(n), "denied", "x") for n in numbers if n in self.denied]
            yield chunk(2, rows, lost, SCHEMA)


def publish(store: Store, source: Source) -> Published:
    about: Any = {"schema": SCHEMA, "rejects_schema": schemas.REJECTS, "footer": {}}
    return store.publish("aligned", "shard-1", key=KEY, chunks=source, retry=RETRY, **about)


def parts(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if "_parts" in path.parts and path.is_file()]


@pytest.fixture
def table(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "toy")


def test_the_key_depends_on_the_missing_rows(table: Store) -> None:
    first = publish(table, Source(1)).key
    assert is_provisional(first)
    assert base_key(first) == KEY
    source = Source(1)
    assert publish(table, source).key == first
    assert source.read == list(range(6))
    assert publish(table, Source(1, 2)).key not in {first, KEY}
    assert publish(table, Source()).key == KEY
    source = Source(3)
    assert publish(table, source).key == KEY  # done: nothing is read
    assert source.read == []


def test_a_killed_try_resumes_and_leaves_no_chunks(table: Store, tmp_path: Path) -> None:
    before = publish(table, Source(1)).key
    with pytest.raises(RuntimeError):
        publish(table, Source(dies_at=4))
    assert table.key("aligned", "shard-1") == before
    table.tidy("aligned")
    assert parts(tmp_path)
    source = Source()
    assert publish(table, source).key == KEY
    assert source.read == [4, 5]
    assert parts(tmp_path) == []


def test_parts_left_by_a_kill_right_after_publishing_are_not_taken_for_a_new_try(
    table: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            "invertory.resources.tables.store.drop_chunks", lambda *_: None
        )  # killed before
        publish(table, Source(1))
    assert parts(tmp_path)
    source = Source()
    assert publish(table, source).key == KEY
    assert source.read == list(range(6))
    with monkeypatch.context() as patch:
        patch.setattr("invertory.resources.tables.store.drop_chunks", lambda *_: None)
        publish(table, Source(1))
    table.tidy("aligned")
    assert parts(tmp_path) == []
