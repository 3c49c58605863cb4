"""Decompress a file as a forward-only stream, up to a limit that stops decompression bombs."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import zlib
from typing import IO, Any, Final

import pyarrow as pa

FREE_BYTES: Final = 256 << 20  # unpacked size allowed for any file
MAX_RATIO: Final = 100  # unpacked to packed beyond that; photographs reach 1, drawings about 30
MAX_HEADER_BYTES: Final = 1 << 20  # of a name or an extended header in a tar
BACK_BYTES: Final = 2 << 20  # distance a reader may step back
BLOCK_BYTES: Final = 1 << 20


def _zstd(file: IO[bytes]) -> IO[bytes]:
    unpacked: IO[bytes] = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
    return unpacked


UNPACKERS: Final[dict[str, Any]] = {
    ".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".tbz2": bz2.open, ".xz": lzma.open,
    ".txz": lzma.open, ".zst": _zstd, ".tzst": _zstd,
}  # fmt: skip
BROKEN: Final = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, pa.ArrowException)


def unpacker_of(path: str) -> Any | None:
    """Return the function that opens a file compressed under this name; None if uncompressed."""
    return next((UNPACKERS[end] for end in UNPACKERS if path.endswith(end)), None)


class Unpacked:
    """The uncompressed bytes of a file as a forward-only file object.

    The stream ends early if the file is broken or unpacks to more than is allowed; `problem` then
    holds the reason. A reader may step back by `BACK_BYTES`.
    """

    def __init__(self, source: IO[bytes], packed_bytes: int) -> None:
        self._source = source
        self._left = max(FREE_BYTES, MAX_RATIO * packed_bytes)
        self._at = 0  # number of bytes unpacked so far
        self._position = 0
        self._tail = b""  # last unpacked bytes
        self.problem = ""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int, whence: int = 0) -> int:
        """Seek forwards, or at most `BACK_BYTES` back from the unpacked end."""
        if whence or position < self._at - len(self._tail):
            raise OSError(
                errno.ESPIPE,
                "expected a position ahead in an unpacked stream, got one behind its buffer",
            )
        while self._at < position and self._more(position - self._at):
            pass
        self._position = min(position, self._at)
        return self._position

    def read(self, size: int) -> bytes:
        """Read `size` bytes, or fewer at the end."""
        behind = self._at - self._position
        blocks = [self._tail[len(self._tail) - behind :][:size]] if behind else []
        left = size - sum(map(len, blocks))
        while left and (block := self._more(left)):
            blocks.append(block)
            left -= len(block)
        data = b"".join(blocks)
        self._position += len(data)
        return data

    def _more(self, size: int) -> bytes:
        """Unpack up to `size` more bytes; empty at the end."""
        num_bytes = min(size, BLOCK_BYTES)
        if self.problem:
            return b""
        if num_bytes > self._left:
            self.problem = f"unpacks to more than {self._at} bytes, {MAX_RATIO} times its size"
            return b""
        try:
            block: bytes = self._source.read(num_bytes)
        except BROKEN as error:
            self.problem = f"is broken: {error}"
            return b""
        except OSError as error:
            if error.errno is not None:  # an error of the disk or the network, not of the bytes
                raise
            self.problem = f"is broken: {error}"
            return b""
        self._left -= len(block)
        self._at += len(block)
        self._tail = (self._tail + block)[-BACK_BYTES:]
        return block


class Headers:
    """A file for a reader of tar headers, limited to headers of `MAX_HEADER_BYTES`."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise OSError(errno.EBADMSG, f"a header states a length of {size} bytes")
        return bytes(self._file.read(size))
