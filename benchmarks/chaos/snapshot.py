"""Everything that must be equal after a fault: each column of each table, each file of each set."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pyarrow as pa

from invertory.resources.tables import Store

OWN = {"run_id", "elapsed_s", "created_utc"}  # of a run, and no part of its results
Snapshot = dict[str, str]  # what => digest of its values


def open_store() -> Store:
    return Store(os.environ["INVERTORY_STORE"], "toy")


def take() -> Snapshot:
    """Of the store of this process."""
    store = open_store()
    return dict([*_tables(store), *_sets(store)])


def differences(expected: Snapshot, got: Snapshot) -> list[str]:
    """What is missing, too much or of other values, by name."""
    names = sorted(expected.keys() | got.keys())
    return [name for name in names if expected.get(name) != got.get(name)]


def _tables(store: Store) -> Iterator[tuple[str, str]]:
    for table in store.tables():
        for shard in store.shards(table):
            place = f"{table}/{shard}"
            yield from _columns(f"{place} rows", store.table(table, shard))
            yield from _columns(f"{place} rejects", store.rejects(table, shard))
            footer = store.footer(table, shard) or {}
            yield from ((f"{place} footer {k}", v) for k, v in footer.items() if k not in OWN)


def _columns(name: str, table: pa.Table) -> Iterator[tuple[str, str]]:
    """A digest of every value of a column, in the order of the rows."""
    for column in table.column_names:
        yield f"{name} {column}", _digest(repr(table.column(column).to_pylist()).encode())


def _sets(store: Store) -> Iterator[tuple[str, str]]:
    for table in store.tables():
        name, _, method = table.partition("/")
        folder = store.sets(method).current() if name == "exports" else None
        if folder is not None:
            for path in store.fs.find(folder):
                yield f"sets/{method}{path[len(folder) :]}", _digest(store.fs.cat_file(path))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
