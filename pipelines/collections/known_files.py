"""The files of a collection that a store already knows, and whether one of them has changed.

The mark of a file is its name, size and time. A file with a known name and a new mark may still
have the same bytes (`touch`, a restored backup, a copied bucket): it is read once and compared with
its image, and its new mark is stored in `entries/_unchanged/` so that it is not read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from array import array
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from invertory.ops.schemas import ENTRIES
from invertory.pipelines.collections.missing_entries import read_entries
from invertory.resources.atomic import sweep
from invertory.resources.parquet import read_file, writing
from invertory.resources.seals import CorruptFileError
from invertory.resources.verification import set_aside

if TYPE_CHECKING:
    from invertory.pipelines.collections.collection import Collection
    from invertory.resources.entries import Entry
    from invertory.resources.parquet import Writer
    from invertory.resources.tables import Store

Numbers = npt.NDArray[np.uint64]
READ_ROWS = 10_000
NO_IMAGE = 0  # stands for a file that could not be read


class KnownFiles:
    """Marks and names of the files of a store: about 120 bytes per file, during intake only."""

    def __init__(self, store: Store, stored: Callable[[str], str]) -> None:
        """`stored` converts a URI of the tables to the form that entries have now."""
        self._store = store
        self._stored = stored
        self._lock = threading.Lock()
        self._marks: set[bytes] = set()
        names = array("Q")
        for uri, size_bytes, modified in _known_files(store):
            name = stored(uri)
            self._marks.add(_mark(name, size_bytes, modified))
            names.append(_number(name))
        self._names: Numbers = np.unique(np.frombuffer(names, np.uint64))

    def has_mark(self, entry: Entry) -> bool:
        return _mark(entry.uri, entry.size_bytes, entry.modified) in self._marks

    def add_mark(self, entry: Entry) -> None:
        self._marks.add(_mark(entry.uri, entry.size_bytes, entry.modified))

    def has_name(self, entry: Entry) -> bool:
        number = np.uint64(_number(entry.uri))
        place = int(np.searchsorted(self._names, number))
        return place < len(self._names) and bool(self._names[place] == number)

    def is_changed(self, entry: Entry, source: Collection) -> bool | None:
        """Return True if a file with a known name has different bytes than before.

        Returns None if this is unknown: its image has not been computed, or the file is gone.
        """
        ids = self._image_numbers(entry.uri)
        if not len(ids):
            return None
        try:
            image_id = hashlib.sha256(source.read(entry.uri)).hexdigest()
        except FileNotFoundError:
            return None
        except Exception:  # the stage of images will report the error
            return True
        return np.uint64(int(image_id[:16], 16)) not in ids

    def _image_numbers(self, uri: str) -> Numbers:
        """Return the images that the file has been so far, by the first 16 digits of their ids."""
        with self._lock:  # called from threads; the first one reads the tables
            names, images = self._images
        number = np.uint64(_number(uri))
        first, end = (int(np.searchsorted(names, number, side)) for side in ("left", "right"))
        return images[first:end]

    @cached_property
    def _images(self) -> tuple[Numbers, Numbers]:
        """Sorted names and their images: 16 bytes per file, read only if a file has changed."""
        names, images = array("Q"), array("Q")
        for shard in self._store.shards("images"):
            for uri, image_id in _read_image_ids(self._store, shard):
                names.append(_number(self._stored(uri)))
                images.append(int(image_id[:16], 16) if image_id else NO_IMAGE)
        name_numbers = np.frombuffer(names, np.uint64)
        order = np.argsort(name_numbers, kind="stable")
        return name_numbers[order], np.frombuffer(images, np.uint64)[order]


class UnchangedMarks:
    """Writes the new marks of files whose bytes are unchanged."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.names: set[int] = set()

    def add(self, entry: Entry) -> None:
        self.names.add(_number(entry.uri))
        self._writer.write(_batch([(entry.uri, entry.size_bytes, entry.modified)]))


@contextlib.contextmanager
def open_unchanged_marks(store: Store) -> Iterator[UnchangedMarks]:
    """Open the file of marks for new ones; existing marks of other files are kept."""
    path = _path(store)
    sweep(store.fs, path.rpartition("/")[0])
    try:
        with writing(store.fs, path, ENTRIES) as writer:
            marks = UnchangedMarks(writer)
            yield marks
            if not marks.names:
                raise _NoNewMarks
            for row in _read_marks(store):
                if _number(row[0]) not in marks.names:
                    writer.write(_batch([row]))
            writer.close({})
    except _NoNewMarks:
        pass


class _NoNewMarks(Exception):  # noqa: N818 - control flow, not an error
    """Leaves the file of marks as it is."""


def _known_files(store: Store) -> Iterator[tuple[str, int | None, str | None]]:
    for shard in store.shards("entries"):
        for batch in read_entries(store, shard):
            yield from _tuples(batch)
    yield from _read_marks(store)


def _read_marks(store: Store) -> Iterator[tuple[str, int | None, str | None]]:
    with contextlib.suppress(FileNotFoundError, CorruptFileError):  # the files are just read again
        for batch in read_file(store.fs, _path(store), None, READ_ROWS):
            yield from _tuples(batch)


def _read_image_ids(store: Store, shard: str) -> list[tuple[str, str | None]]:
    """Return URI and image_id of a shard's files; [] if its table is corrupt, to be recomputed."""
    try:
        table = store.table("images", shard, ["uri", "image_id"])
    except CorruptFileError as error:
        set_aside(store, error.path)
        return []
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def _tuples(batch: pa.RecordBatch) -> Iterator[Any]:
    return zip(*(batch.column(name).to_pylist() for name in ENTRIES.names), strict=True)


def _batch(rows: list[tuple[str, int | None, str | None]]) -> pa.RecordBatch:
    named = [dict(zip(ENTRIES.names, row, strict=True)) for row in rows]
    return pa.RecordBatch.from_pylist(named, schema=ENTRIES)


def _path(store: Store) -> str:
    return f"{store.base}/entries/_unchanged/marks.parquet"


def _mark(uri: str, size_bytes: int | None, modified: str | None) -> bytes:
    """16 bytes per file, plus about 90 for the Python object; held during intake only."""
    return hashlib.blake2b(f"{uri}\0{size_bytes}\0{modified}".encode(), digest_size=16).digest()


def _number(uri: str) -> int:
    return int.from_bytes(hashlib.blake2b(uri.encode(), digest_size=8).digest(), "big")
