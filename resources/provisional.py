"""Provisional keys: for a shard with rows that could not be read now but may be readable later.

Such a shard is published under `<requested key>+retry:<digest>`. This differs from the requested
key, so the next run computes the shard again. The digest covers the columns that later tables
read: they stay current while the same rows are missing, and become stale as soon as one is read.
"""

import hashlib
import json
from collections.abc import Mapping, Set
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

MARK: Final = "+retry:"
IDENTITY: Final = ("uri", "row_id", "image_id", "crop_id", "status")


def base_key(key: str) -> str:
    """Return the key without the mark of a provisional key."""
    return key.partition(MARK)[0]


def is_provisional(key: str | None) -> bool:
    """Return True if the next run retries rows of the shard."""
    return MARK in (key or "")


def is_provisional_for(key: str | None, requested_key: str) -> bool:
    """Return True for a shard that is complete under `requested_key` except for rows to retry."""
    return is_provisional(key) and base_key(key or "") == requested_key


def attempt_mark(footer: Mapping[str, str] | None, requested_key: str) -> str:
    """Return a mark that separates the chunks of a retry from those of the provisional shard."""
    if footer is None or not is_provisional_for(footer.get("key"), requested_key):
        return ""
    text = json.dumps(dict(footer), sort_keys=True)
    return "r" + hashlib.sha256(text.encode()).hexdigest()[:8]


class Tally:
    """Counts rows and rejects whose status is in `retry`, and digests the identity of each row."""

    def __init__(self, retry: Set[str]) -> None:
        self._retry = pa.array(sorted(retry), pa.string())
        self._digest = hashlib.sha256()
        self._num_retry = 0

    def add(self, batch: pa.RecordBatch) -> None:
        names = [name for name in IDENTITY if name in batch.schema.names]
        for row in batch.select(names).to_pylist():
            self._digest.update(json.dumps(row, sort_keys=True).encode())
        if "status" in names:
            is_retried = pc.is_in(batch.column("status"), value_set=self._retry)
            self._num_retry += pc.sum(is_retried).as_py() or 0

    def key(self, requested_key: str) -> str:
        """Return `requested_key`, or the provisional key if there are rows to retry."""
        return (
            f"{requested_key}{MARK}{self._digest.hexdigest()[:16]}"
            if self._num_retry
            else requested_key
        )
