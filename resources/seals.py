"""Checksums of every byte of a table file, and their verification.

Parquet's page checksums cover the data of pages, but not page headers, the page index or the
footer. The footer of our files therefore holds the CRC-32 of every column chunk and of the bytes
between them (`invertory.checksums`), and a digest of the footer itself, computed with zeros in the
place of the digest (`invertory.seal`). Both are computed once the file is written, before it gets
its final name. Files without them were written by earlier versions and are read unverified.
"""

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

CHECKSUMS, SEAL = "invertory.checksums", "invertory.seal"
SEAL_CHARS, CRC_CHARS = 32, 8
MAGIC = b"PAR1"
TAIL_BYTES = 64 << 10  # read at once from the end: the whole footer of most files
BLOCK_BYTES = 1 << 20


class CorruptFileError(OSError):
    """The bytes of a file differ from those that were written."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path} is corrupt: {reason}; `invertory verify RECIPE --repair` sets it aside, and "
            "the next `invertory run RECIPE` computes it again"
        )
        self.path, self.reason = path, reason


@dataclass(frozen=True, slots=True)
class Footer:
    """A verified footer. `chunks` maps the start of each column chunk to (length, CRC-32)."""

    metadata: pq.FileMetaData
    start: int  # of the footer in the file
    chunks: dict[int, tuple[int, int]] = field(default_factory=dict)
    rest: int | None = None  # CRC-32 of the bytes outside column chunks, up to the footer


def placeholders(num_row_groups: int, schema: pa.Schema) -> dict[str, str]:
    """Footer entries of the final length, for `seal` to fill."""
    num_chunks = 1 + num_row_groups * sum(_num_leaves(column.type) for column in schema)
    return {CHECKSUMS: "0" * CRC_CHARS * num_chunks, SEAL: "0" * SEAL_CHARS}


def seal(file: IO[bytes], path: str) -> str:
    """Fill the placeholders of a finished file that is open for reading and writing.

    Returns the digest of its rows, as `content_digest` does.
    """
    footer, start = _read_footer_bytes(file, path)
    found = _parsed(footer, path)
    places = _chunk_places(found)
    crcs = [crc_of(file, gap) for gap in [_gaps(places, start)]]
    crcs += [crc_of(file, [place]) for place in places]
    at = _value_place(footer, CHECKSUMS, len(crcs) * CRC_CHARS)
    text = "".join(f"{crc:08x}" for crc in crcs).encode()
    footer = footer[:at] + text + footer[at + len(text) :]
    at = _value_place(footer, SEAL, SEAL_CHARS)
    footer = footer[:at] + _digest(footer, at).encode() + footer[at + SEAL_CHARS :]
    file.seek(start)
    file.write(footer)
    file.flush()
    return _rows_digest(found.num_rows, text)


def read_verified(file: IO[bytes], path: str) -> Footer:
    """The footer of an open file; CorruptFileError where it differs from the one written."""
    footer, start = _read_footer_bytes(file, path)
    is_sealed = SEAL.encode() in footer or CHECKSUMS.encode() in footer
    if is_sealed:
        at = _value_place(footer, SEAL, SEAL_CHARS, path)
        if footer[at : at + SEAL_CHARS] != _digest(footer, at).encode():
            raise CorruptFileError(path, "its footer does not match its seal")
    metadata = _parsed(footer, path)
    if not is_sealed:
        return Footer(metadata, start)
    text = metadata.metadata[CHECKSUMS.encode()].decode()
    rest, *crcs = (int(text[i : i + CRC_CHARS], 16) for i in range(0, len(text), CRC_CHARS))
    places = _chunk_places(metadata)
    chunks = {at: (size, crc) for (at, size), crc in zip(places, crcs, strict=True)}
    return Footer(metadata, start, chunks, rest)


def verify_bytes(file: IO[bytes], path: str) -> bool:
    """Compare every byte with its checksum, in constant memory; CorruptFileError where one differs.

    Returns False for a file of an earlier version, which has no checksums.
    """
    footer = read_verified(file, path)
    if footer.rest is None:
        return False
    for at, (size, crc) in footer.chunks.items():
        if crc_of(file, [(at, size)]) != crc:
            raise mismatch(path, at, size)
    places = [(at, size) for at, (size, _) in footer.chunks.items()]
    if crc_of(file, _gaps(places, footer.start)) != footer.rest:
        raise CorruptFileError(path, "its page index does not match its checksum")
    return True


def content_digest(metadata: pq.FileMetaData) -> str | None:
    """A digest of the rows, independent of the footer; None where there are no checksums."""
    text = (metadata.metadata or {}).get(CHECKSUMS.encode())
    return None if text is None else _rows_digest(metadata.num_rows, text)


def _rows_digest(num_rows: int, checksums: bytes) -> str:
    return f"{num_rows}:{hashlib.blake2b(checksums, digest_size=16).hexdigest()}"


def mismatch(path: str, at: int, size: int) -> CorruptFileError:
    """The error of bytes whose checksum differs."""
    return CorruptFileError(path, f"bytes {at} to {at + size} do not match their checksum")


def _read_footer_bytes(file: IO[bytes], path: str) -> tuple[bytes, int]:
    """The footer without its length and magic, and where it starts."""
    end = file.seek(0, 2)
    file.seek(max(0, end - TAIL_BYTES))
    tail = file.read(TAIL_BYTES)
    size = int.from_bytes(tail[-8:-4], "little")
    if end < size + 12 or not tail.endswith(MAGIC):
        raise CorruptFileError(path, f"its {end} bytes do not end as a Parquet file does")
    start = end - 8 - size
    if size + 8 > len(tail):
        file.seek(start)
        tail = file.read(size + 8)
    return tail[-8 - size : -8], start


def _parsed(footer: bytes, path: str) -> pq.FileMetaData:
    tail = footer + len(footer).to_bytes(4, "little") + MAGIC
    try:
        return pq.read_metadata(pa.BufferReader(tail))
    except (pa.ArrowException, OSError, MemoryError) as error:
        raise CorruptFileError(path, f"its footer cannot be read ({_first_line(error)})") from error


def _value_place(footer: bytes, key: str, size: int, path: str = "") -> int:
    """Where the value of a key starts: after a field header and its length, a varint."""
    head = key.encode() + b"\x18" + _varint(size)
    at = footer.rfind(head)
    if at < 0:
        raise CorruptFileError(path, f"its footer has no {key}")
    return at + len(head)


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _digest(footer: bytes, at: int) -> str:
    """The digest of the footer with zeros in place of the seal at `at`."""
    blank = footer[:at] + b"0" * SEAL_CHARS + footer[at + SEAL_CHARS :]
    return hashlib.blake2b(blank, digest_size=SEAL_CHARS // 2).hexdigest()


def _chunk_places(metadata: pq.FileMetaData) -> list[tuple[int, int]]:
    """(start, length) of every column chunk, in the order of the file."""
    return [
        (_chunk_start(column), column.total_compressed_size)
        for group in range(metadata.num_row_groups)
        for column in _columns(metadata.row_group(group))
    ]


def _columns(group: Any) -> Iterator[Any]:
    return (group.column(number) for number in range(group.num_columns))


def _chunk_start(column: Any) -> int:
    return int(column.dictionary_page_offset if column.has_dictionary_page
               else column.data_page_offset)  # fmt: skip


def _gaps(places: list[tuple[int, int]], end: int) -> list[tuple[int, int]]:
    """(start, length) of the bytes before `end` outside `places`, which are in order."""
    bounds = [(0, 0), *places, (end, 0)]
    return [(at + size, following - at - size)
            for (at, size), (following, _) in pairwise(bounds)]  # fmt: skip


def crc_of(file: IO[bytes], places: list[tuple[int, int]]) -> int:
    """The CRC-32 of the bytes at `places`, each a (start, length)."""
    crc = 0
    for at, size in places:
        file.seek(at)
        while size > 0 and (block := file.read(min(size, BLOCK_BYTES))):
            crc, size = zlib.crc32(block, crc), size - len(block)
    return crc


def _num_leaves(kind: pa.DataType) -> int:
    if not pa.types.is_nested(kind):
        return 1
    return sum(_num_leaves(kind.field(number).type) for number in range(kind.num_fields))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
