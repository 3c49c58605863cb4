"""A file for Arrow to read whose column chunks are compared with their checksums."""

import zlib
from typing import IO

from invertory.resources.seals import Footer, crc_of, mismatch


class VerifiedFile:
    """An open file for Arrow that compares each column chunk with its checksum first.

    Arrow reads a column chunk in one piece, so no byte is read twice.
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
        """Compare the chunks that a read of another extent overlaps."""
        touched = [s for s in self._starts if s < at + size and at < s + self._chunks[s][0]]
        for start in touched:
            if start not in self._verified:
                self._compare(start, crc_of(self._file, [(start, self._chunks[start][0])]))
        self._file.seek(at + size)

    def _compare(self, at: int, crc: int) -> None:
        size, expected = self._chunks[at]
        if crc != expected:
            raise mismatch(self._path, at, size)
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
        """The caller closes the file that it opened."""
