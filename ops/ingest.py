"""Ingest: turn the files of a shard into rows of `images`; every file has a row, even a broken one.

A URI is one line of valid UTF-8. The source escapes what does not fit into it: bytes that are not
valid UTF-8, control characters, "::" and "%" are written as %XX, and `read` decodes them.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from invertory.images import MAX_PIXELS, BadImage, DecodedImage, decode
from invertory.ops.ahead import ahead, on_all_cores
from invertory.ops.schemas import IMAGES
from invertory.ops.streams import MAX_ERROR_CHARS, Chunk, chunk

# Returns the bytes behind a URI, or raises. One of OUTAGES: the source is unreachable and the step
# fails. PermissionError or BlockingIOError: this file cannot be read now; the next run tries again.
# FileNotFoundError: the file has vanished. Any other error concerns the bytes and is final.
Read = Callable[[str], bytes]
OUTAGES: Final = (ConnectionError, TimeoutError, MemoryError, ImportError)
Earlier = Callable[[str], str | None]  # image_id => URI of the same image in an earlier shard
NUM_READERS: Final = 8


@dataclass(frozen=True, slots=True)
class Ingest:
    """Rows of `entries` => rows of `images`.

    `first_of` maps each image_id to the URI of its first file (see `first_uris`); every other file
    with the same bytes is a `duplicate`. The map is computed before the first row, so rows do not
    depend on each other. Images that `earlier` finds are duplicates too, including a file that is
    listed again because its modification time has changed.
    """

    read: Read
    max_pixels: int = MAX_PIXELS
    min_px: int = 64
    first_of: Mapping[str, str] = field(default_factory=dict)
    earlier: Earlier = lambda _: None

    def __call__(self, entries: pa.RecordBatch) -> Chunk:
        listed = entries.to_pylist()
        rows: list[dict[str, Any]] = []
        with closing(ahead(self._contents(listed))) as groups:
            for group in groups:
                rows += on_all_cores(lambda pair: self._row(*pair), group)
        return chunk(len(listed), rows, [], IMAGES)

    def _contents(
        self, entries: list[dict[str, Any]]
    ) -> Iterator[list[tuple[dict[str, Any], bytes | Exception]]]:
        """Read NUM_READERS files at a time; at most two such groups are held in memory."""
        with ThreadPoolExecutor(NUM_READERS) as pool:
            for start in range(0, len(entries), NUM_READERS):
                group = entries[start : start + NUM_READERS]
                yield list(zip(group, pool.map(self._content, group), strict=True))

    def _content(self, entry: dict[str, Any]) -> bytes | Exception:
        try:
            return self.read(entry["uri"])
        except OUTAGES:
            raise
        except Exception as error:
            return error

    def _row(self, entry: dict[str, Any], data: bytes | Exception) -> dict[str, Any]:
        row = dict.fromkeys(IMAGES.names)
        row |= {"uri": entry["uri"], "size_bytes": entry["size_bytes"]}
        if isinstance(data, Exception):
            return row | {"status": unread_status(data), "error": describe(data)}
        image_id = hashlib.sha256(data).hexdigest()
        row |= {"image_id": image_id, "size_bytes": len(data)}
        earlier_uri = self.earlier(image_id)
        first = earlier_uri or self.first_of.get(image_id, entry["uri"])
        if earlier_uri or first != entry["uri"]:
            return row | {"status": "duplicate", "error": first}
        try:
            image = decode(data, max_pixels=self.max_pixels, min_px=self.min_px)
        except BadImage as error:
            return row | {"status": error.status, "error": describe(error)}
        except Exception as error:
            return row | {"status": "decode_failed", "error": describe(error)}
        return row | _image_fields(image)


def first_uris(
    entries: Iterable[pa.RecordBatch],
    read: Read,
) -> dict[str, str]:
    """Return the URI of the first listed file for each image_id.

    Only files that share their size with another file, or whose size is unknown, are read, since
    files of different sizes differ. `entries` need `uri`; `size_bytes` avoids reads.
    """
    listed = [(e["uri"], e.get("size_bytes")) for batch in entries for e in batch.to_pylist()]
    counts: dict[int | None, int] = {}
    for _, size in listed:
        counts[size] = counts.get(size, 0) + 1
    suspects = [uri for uri, size in listed if size is None or counts[size] > 1]
    first: dict[str, str] = {}
    with ThreadPoolExecutor(NUM_READERS) as pool:
        for start in range(0, len(suspects), NUM_READERS):
            group = suspects[start : start + NUM_READERS]
            for uri, digest in zip(group, pool.map(lambda u: _digest(read, u), group), strict=True):
                if digest is not None:
                    first.setdefault(digest, uri)
    return first


def unread_status(error: Exception) -> str:
    """Return the status of a file that could not be read."""
    if isinstance(error, BadImage):
        return error.status
    if (
        isinstance(error, OSError) and error.errno == errno.EFBIG
    ):  # raised by the source's size limit
        return "too_large"
    if isinstance(error, PermissionError):
        return "denied"
    if isinstance(error, BlockingIOError):
        return "unavailable"
    return "vanished" if isinstance(error, FileNotFoundError) else "unreadable"


def describe(error: Exception) -> str:
    """Format an error as one short line of valid UTF-8."""
    text = error.reason if isinstance(error, BadImage) else f"{type(error).__name__}: {error}"
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return line[:MAX_ERROR_CHARS]


def _digest(read: Read, uri: str) -> str | None:
    try:
        return hashlib.sha256(read(uri)).hexdigest()
    except OUTAGES:
        raise
    except Exception:  # `Ingest` reads the file again and reports the error
        return None


def _image_fields(image: DecodedImage) -> dict[str, Any]:
    return {
        "format": image.format,
        "mode": image.mode,
        "width_px": image.width,
        "height_px": image.height,
        "orientation": image.orientation,
        "num_frames": image.num_frames,
        "status": "ok",
    }
