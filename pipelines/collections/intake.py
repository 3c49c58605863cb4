"""Intake: pictures that the collection did not have before are dealt to new shards, once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import tempfile
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from invertory.ops.schemas import ENTRIES
from invertory.pipelines.tables.chain import digest
from invertory.resources.entries import Entry, deal

if TYPE_CHECKING:
    from invertory.pipelines.collections.collection import Collection
    from invertory.resources.tables import Store

ROWS = 1024


def deal_new(
    store: Store,
    source: Collection,
    shard_size: int,
    *,
    settle_s: float = 0.0,
    max_shards: int | None = None,
) -> list[str]:
    """New shards of `store`, in order; a file known by name, size and time is not looked at again.

    Files younger than `settle_s` are left for the next time, since somebody may be writing them,
    and so is what would not fit into `max_shards`.
    """
    with _alone(store):
        shards = store.shards("entries")
        known = {_mark(source.stored(uri), size, changed) for uri, size, changed in _known(store)}
        first = 1 + max((int(name.rsplit("-", 1)[1]) for name in shards), default=0)
        dealt = deal(_fresh(source, known, settle_s), frozenset(), shard_size, first)
        return [_write(store, name, entries) for name, entries in islice(dealt, max_shards)]


def _fresh(source: Collection, known: set[bytes], settle_s: float) -> Iterator[Entry]:
    """Entries that are not known, each once, though two places of a collection may overlap."""
    for entry in source.entries():
        mark = _mark(entry.uri, entry.size_bytes, entry.modified)
        if mark not in known and _is_settled(entry, settle_s):
            known.add(mark)
            yield entry


def _write(store: Store, shard: str, entries: list[Entry]) -> str:
    rows = [{"uri": e.uri, "size_bytes": e.size_bytes, "modified": e.modified} for e in entries]
    batch = pa.RecordBatch.from_pylist(rows, schema=ENTRIES)
    store.write("entries", shard, [batch], schema=ENTRIES, key=digest(rows), footer={})
    return shard


def _known(store: Store) -> Iterator[tuple[str, int | None, str | None]]:
    for batch in store.read_all("entries"):
        columns = (batch.column(name).to_pylist() for name in ENTRIES.names)
        yield from zip(*columns, strict=True)


def _mark(uri: str, size_bytes: int | None, modified: str | None) -> bytes:
    """16 bytes, and some 90 of Python's, a file; held while files are dealt, and no longer."""
    return hashlib.blake2b(f"{uri}\0{size_bytes}\0{modified}".encode(), digest_size=16).digest()


def _is_settled(entry: Entry, settle_s: float) -> bool:
    """False for a file whose time of change is known and less than `settle_s` ago."""
    try:
        changed = datetime.fromisoformat(entry.modified or "")
    except ValueError:
        return True
    now = datetime.now(changed.tzinfo)
    return (now - changed).total_seconds() >= settle_s


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    """One dealer a store and host at a time; the kernel frees the lock of a killed one."""
    name = hashlib.sha256(store.uri("entries", "lock").encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"invertory-{name}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
