"""Look up images of earlier shards, to recognise copies.

For each image that a new file might equal, 12 bytes are held: the first 8 bytes of its sha256 and
the number of its shard. A match is confirmed in the table of that shard.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from invertory.resources.tables import Store

Starts = npt.NDArray[np.uint64]  # first 16 hex digits of image_ids as numbers
READ_ROWS = 10_000


class EarlierImages:
    """The valid images of the shards before `shard` that have the size of a file in `shard`.

    Images of other sizes cannot be equal. Memory: 12 bytes per image, 40 during sorting, and the
    ids and URIs of one shard at a time if there are copies.
    """

    def __init__(self, store: Store, shard: str) -> None:
        self._store = store
        self._shards = [name for name in store.shards("images") if name < shard]
        self._lock = threading.Lock()
        self._opened: tuple[int, dict[str, str]] = (-1, {})
        sizes = _sizes(store, shard)
        starts_by_shard = [_starts(store, name, sizes) for name in self._shards]
        starts = np.concatenate([np.empty(0, np.uint64), *starts_by_shard])
        numbers = np.repeat(
            np.arange(len(starts_by_shard), dtype=np.uint32),
            [len(part) for part in starts_by_shard],
        )
        order = np.argsort(starts, kind="stable")
        self._starts, self._numbers = starts[order], numbers[order]

    @property
    def num_bytes(self) -> int:
        """Bytes of the index, independent of the lookups."""
        return self._starts.nbytes + self._numbers.nbytes

    def uri(self, image_id: str) -> str | None:
        """Return the URI of the image with this id; None if there is none."""
        start = np.uint64(int(image_id[:16], 16))
        first, end = (int(np.searchsorted(self._starts, start, side)) for side in ("left", "right"))
        for number in self._numbers[first:end]:
            if uri := self._uris(int(number)).get(image_id):
                return uri
        return None

    def _uris(self, number: int) -> dict[str, str]:
        """Return image_id => URI of a shard; the last shard is cached, as copies come in order."""
        with self._lock:
            if self._opened[0] != number:
                self._opened = number, dict(_valid_images(self._store, self._shards[number]))
            return self._opened[1]


def _sizes(store: Store, shard: str) -> pa.Array | None:
    """Return the sizes in bytes of the files of a shard; None if one is unknown."""
    column = store.table("entries", shard, ["size_bytes"]).column("size_bytes")
    return None if column.null_count else column.unique()


def _starts(store: Store, shard: str, sizes: pa.Array | None) -> Starts:
    ids = []
    columns = ["image_id", "size_bytes", "status"]
    for batch in store.read("images", shard, columns, batch_rows=READ_ROWS):
        chosen = pc.equal(batch.column("status"), "ok")
        if sizes is not None:
            chosen = pc.and_(chosen, pc.is_in(batch.column("size_bytes"), value_set=sizes))
        ids += pc.utf8_slice_codeunits(batch.column("image_id").filter(chosen), 0, 16).to_pylist()
    return np.frombuffer(bytes.fromhex("".join(ids)), ">u8").astype(np.uint64)


def _valid_images(store: Store, shard: str) -> Iterator[tuple[str, str]]:
    columns = ["image_id", "uri", "status"]
    for batch in store.read("images", shard, columns, batch_rows=READ_ROWS):
        chosen = batch.filter(pc.equal(batch.column("status"), "ok"))
        ids, uris = (chosen.column(name).to_pylist() for name in columns[:2])
        yield from zip(ids, uris, strict=True)
