"""Checksums of every byte of a table file, and their verification.

Parquet's page checksums cover the data of pages, but neither page headers nor the page index nor
the footer. The footer of a file of ours therefore holds the CRC-32 of every column chunk and of
whatever lies between (`invertory.checksums`), and a digest of the footer itself, taken with zeros
in its own place (`invertory.seal`). Both are computed once the file is written, before it gets its
name. Files without either were written by earlier versions and are read as they are.
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
    """A file whose bytes are not those that were written."""

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
    rest: int | None = None  # CRC-32 of what precedes the footer and is no column chunk


def placeholders(num_row_groups: int, schema: pa.Schema) -> dict[str, str]:
    """Footer entries of the final length, for `seal` to fill."""
    num_chunks = 1 + num_row_groups * sum(_num_leaves(column.type) for column in schema)
    return {CHECKSUMS: "0" * CRC_CHARS * num_chunks, SEAL: "0" * SEAL_CHARS}


def seal(file: IO[bytes], path: str) -> str:
    """Fill the placeholders of a finished file that is open for reading and writing.

    Gives the digest of its rows, as `content_digest` does.
    """
    footer, start = _read_footer_bytes(file, path)
    found = _parsed(footer, path)
    places = _chunk_places(found)
    crcs = [_crc(file, gap) for gap in [_gaps(places, start)]]
    crcs += [_crc(file, [place]) for place in places]
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
    """The footer of an open file; CorruptFileError where it is not the one that was written."""
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

    False where the file bears no checksums, because an earlier version wrote it.
    """
    footer = read_verified(file, path)
    if footer.rest is None:
        return False
    for at, (size, crc) in footer.chunks.items():
        if _crc(file, [(at, size)]) != crc:
            raise _mismatch(path, at, size)
    places = [(at, size) for at, (size, _) in footer.chunks.items()]
    if _crc(file, _gaps(places, footer.start)) != footer.rest:
        raise CorruptFileError(path, "its page index does not match its checksum")
    return True


def content_digest(metadata: pq.FileMetaData) -> str | None:
    """A digest of the rows alone, whatever the footer says; None where there are no checksums."""
    text = (metadata.metadata or {}).get(CHECKSUMS.encode())
    return None if text is None else _rows_digest(metadata.num_rows, text)


def _rows_digest(num_rows: int, checksums: bytes) -> str:
    return f"{num_rows}:{hashlib.blake2b(checksums, digest_size=16).hexdigest()}"


class VerifiedFile:
    """An open file for Arrow to read, each column chunk compared with its checksum first.

    Arrow reads a column chunk in one piece, so that nothing is read twice.
    """

    closed = False

    def __init__(self, file: IO[bytes], path: str, footer: Footer) -> None:
        self._file, self._path, self._chunks = file, path, footer.chunks
        self._starts = sorted(footer.chunks)
        self._verified: set[int] = set()

    def read(self, size: int = -1) -> bytes:
        at = self._file.tell()
        data = self._file.read(size)
        if self._chunks.get(at, (None,))[0] == len(data):
            self._compare(at, zlib.crc32(data))
        else:
            self._verify_around(at, len(data))
        return data

    def _verify_around(self, at: int, size: int) -> None:
        """Compare the chunks that a read of another extent has touched."""
        touched = [s for s in self._starts if s < at + size and at < s + self._chunks[s][0]]
        for start in touched:
            if start not in self._verified:
                self._compare(start, _crc(self._file, [(start, self._chunks[start][0])]))
        self._file.seek(at + size)

    def _compare(self, at: int, crc: int) -> None:
        size, expected = self._chunks[at]
        if crc != expected:
            raise CorruptFileError(
                self._path, f"bytes {at} to {at + size} do not match their checksum"
            )
        self._verified.add(at)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def close(self) -> None:
        """The file belongs to who opened it."""


def _mismatch(path: str, at: int, size: int) -> CorruptFileError:
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
    """Where the value of a key starts: behind a field header and its length, a varint."""
    head = key.encode() + b"\x18" + _varint(size)
    at = footer.rfind(head)
    if at < 0:
        raise CorruptFileError(path, f"its footer has no {key}")
    return at + len(head)


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])


def _digest(footer: bytes, at: int) -> str:
    """Of the footer with zeros in place of the seal at `at`."""
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
    """(start, length) of what lies before `end` outside `places`, which are in order."""
    bounds = [(0, 0), *places, (end, 0)]
    return [(at + size, following - at - size)
            for (at, size), (following, _) in pairwise(bounds)]  # fmt: skip


def _crc(file: IO[bytes], places: list[tuple[int, int]]) -> int:
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
