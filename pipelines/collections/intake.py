"""Intake: split the new images of a collection into new shards, once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa

from invertory.ops.schemas import ENTRIES
from invertory.pipelines.collections.known_files import KnownFiles, open_unchanged_marks
from invertory.pipelines.collections.missing_entries import (
    last_number,
    missing_entries,
    numbered_shards,
    restore,
)
from invertory.pipelines.digests import digest
from invertory.resources.entries import Entry, deal
from invertory.resources.locks import Waiting, holding, silent

if TYPE_CHECKING:
    from invertory.pipelines.collections.collection import Collection
    from invertory.pipelines.collections.known_files import UnchangedMarks
    from invertory.resources.tables import Store

NUM_READERS = 8
WINDOW = 256  # listed files held in memory while changed ones are read

ROWS = 1024


def deal_new(
    store: Store,
    source: Collection,
    shard_size: int,
    *,
    settle_s: float = 0.0,
    max_shards: int | None = None,
    waiting: Waiting = silent,
) -> list[str]:
    """Create new shards of `store`; return their names in order.

    A file with a known name, size and time is skipped. A known file with another size or time is
    read, and is new only if its bytes have changed. Files younger than `settle_s`, which may still
    be being written, and files beyond `max_shards` are left for the next call. A missing shard of
    entries is restored first. One process runs this at a time; `waiting` is called with the holder
    if it is another one.
    """
    with holding(store.lock_path("entries", "intake"), "the intake of images", waiting=waiting):
        shard_tables = numbered_shards(store)
        for shard in missing_entries(shard_tables):
            restore(store, shard, shard_tables[shard])
        known = KnownFiles(store, source.stored)
        with open_unchanged_marks(store) as unchanged:
            fresh = _fresh(source, known, unchanged, settle_s)
            dealt = deal(fresh, frozenset(), shard_size, last_number(shard_tables) + 1)
            return [_write(store, name, entries) for name, entries in islice(dealt, max_shards)]


def _fresh(
    source: Collection, known: KnownFiles, unchanged: UnchangedMarks, settle_s: float
) -> Iterator[Entry]:
    """Yield entries that are not known, each once, even if the sources of a collection overlap."""
    marked = _unmarked(source, known, settle_s)
    with ThreadPoolExecutor(NUM_READERS) as pool:
        while window := list(islice(marked, WINDOW)):
            named = [entry for entry in window if known.has_name(entry)]
            judged = pool.map(lambda entry: known.is_changed(entry, source), named)
            is_changed = dict(zip(named, judged, strict=True))
            for entry in window:
                if is_changed.get(entry, True):
                    yield entry
                elif is_changed[entry] is not None:
                    unchanged.add(entry)


def _unmarked(source: Collection, known: KnownFiles, settle_s: float) -> Iterator[Entry]:
    for entry in source.entries():
        if not known.has_mark(entry) and _is_settled(entry, settle_s):
            known.add_mark(entry)
            yield entry


def _write(store: Store, shard: str, entries: list[Entry]) -> str:
    rows = [{"uri": e.uri, "size_bytes": e.size_bytes, "modified": e.modified} for e in entries]
    batch = pa.RecordBatch.from_pylist(rows, schema=ENTRIES)
    store.write("entries", shard, [batch], schema=ENTRIES, key=digest(rows), footer={})
    return shard


def _is_settled(entry: Entry, settle_s: float) -> bool:
    """Return False if the modification time is known and less than `settle_s` ago."""
    try:
        changed = datetime.fromisoformat(entry.modified or "")
    except ValueError:
        return True
    now = datetime.now(changed.tzinfo)
    return (now - changed).total_seconds() >= settle_s
