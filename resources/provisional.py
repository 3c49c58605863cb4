"""Provisional keys: a shard with rows that could not be read this time, and may be at the next.

Such a shard is published under `<wanted key>+retry:<digest>`. It differs from the wanted key, so
that the shard is computed again at the next run. The digest covers what later tables read of it:
they stay current while the same rows are missing, and become stale as soon as one is read.
"""

import hashlib
import json
from collections.abc import Mapping, Set
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

MARK: Final = "+retry:"
IDENTITY: Final = ("uri", "row_id", "image_id", "crop_id", "status")


def wanted_part(key: str) -> str:
    """The key without the mark of a provisional one."""
    return key.partition(MARK)[0]


def is_provisional(key: str | None) -> bool:
    """True where rows of the shard are tried again at the next run."""
    return MARK in (key or "")


def is_provisional_for(key: str | None, wanted: str) -> bool:
    """True for a shard that is complete under `wanted` except for rows to be tried again."""
    return is_provisional(key) and wanted_part(key or "") == wanted


def attempt_mark(footer: Mapping[str, str] | None, wanted: str) -> str:
    """A suffix for the chunks of a new attempt at a provisional shard; "" for other shards."""
    if footer is None or not is_provisional_for(footer.get("key"), wanted):
        return ""
    text = json.dumps(dict(footer), sort_keys=True)
    return "r" + hashlib.sha256(text.encode()).hexdigest()[:8]


class Tally:
    """Counts rows and rejects whose status is in `retry`, and digests what identifies a row."""

    def __init__(self, retry: Set[str]) -> None:
        self._retry = pa.array(sorted(retry), pa.string())
        self._digest = hashlib.sha256()
        self._num_retry = 0

    def add(self, batch: pa.RecordBatch) -> None:
        names = [name for name in IDENTITY if name in batch.schema.names]
        for row in batch.select(names).to_pylist():
            self._digest.update(json.dumps(row, sort_keys=True).encode())
        if "status" in names:
            found = pc.is_in(batch.column("status"), value_set=self._retry)
            self._num_retry += pc.sum(found).as_py() or 0

    def key(self, wanted: str) -> str:
        """`wanted`, or the provisional key where rows are to be tried again."""
        return f"{wanted}{MARK}{self._digest.hexdigest()[:16]}" if self._num_retry else wanted
