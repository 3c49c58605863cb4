"""Missing entries of a store: restored from the table of images, or reported."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from invertory.ops.schemas import ENTRIES
from invertory.resources.seals import CorruptFileError
from invertory.resources.verification import set_aside

if TYPE_CHECKING:
    from invertory.resources.tables import Store

NUMBERED = re.compile(r"shard-(\d+)")


def numbered_shards(store: Store) -> dict[str, list[str]]:
    """Return the tables that have each numbered shard; a number is never used twice."""
    shard_tables: dict[str, list[str]] = {}
    for table in store.tables():
        for shard in store.shards(table):
            if NUMBERED.fullmatch(shard):
                shard_tables.setdefault(shard, []).append(table)
    return shard_tables


def last_number(shard_tables: dict[str, list[str]]) -> int:
    """Return the highest number of a shard; 0 if there is none."""
    return max((int(shard.rsplit("-", 1)[1]) for shard in shard_tables), default=0)


def missing_entries(shard_tables: dict[str, list[str]]) -> list[str]:
    """Return the shards that other tables have but `entries` has not."""
    return sorted(shard for shard, tables in shard_tables.items() if "entries" not in tables)


def restore(store: Store, shard: str, tables: list[str]) -> None:
    """Restore entries from the shard's images, under the key that these were computed from.

    The tables computed from them stay up to date. Raises CorruptFileError without images.
    """
    footer = store.footer("images", shard)
    if footer is None or store.key("images", shard) is None:
        raise CorruptFileError(
            store.path("entries", shard),
            "it is missing, and so is its table of images, from which it could be restored; "
            f"{', '.join(tables)} still have the shard: put the file back from a backup, or "
            "continue without the shard",
        )
    key = next(key for table, _, key in json.loads(footer["inputs"]) if table == "entries")
    store.write("entries", shard, _rows(store, shard), schema=ENTRIES, key=key,
                footer={"restored_from": "images"})  # fmt: skip


def read_entries(store: Store, shard: str) -> Iterator[pa.RecordBatch]:
    """Yield the entries of a shard; a corrupt file is restored first."""
    try:
        held = list(store.read("entries", shard))
    except CorruptFileError as error:
        set_aside(store, error.path)
        restore(store, shard, ["images"])
        held = list(store.read("entries", shard))
    yield from held


def _rows(store: Store, shard: str) -> Iterator[pa.RecordBatch]:
    """Yield entries without modification times, which the next intake adds."""
    for batch in store.read("images", shard, ["uri", "size_bytes"]):
        times = pa.nulls(batch.num_rows, pa.string())
        yield pa.RecordBatch.from_arrays([*batch.columns, times], schema=ENTRIES)
