"""The members of a tar with any headers: a broken one is reported and reading continues after it.

Python's reader stops silently at a header it cannot parse, follows a negative size backwards,
reads an extended header of any length, and recurses into a chain of them.
"""

from __future__ import annotations

import errno
import struct
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, Self

from invertory.resources.unpacking import BLOCK_BYTES, Headers

# The ignored attributes are of every Python that we support; typeshed leaves them out.
BLOCK: Final = tarfile.BLOCKSIZE
UNIMPORTANT: Final = (
    (108, 116),
    (116, 124),
    (136, 148),
    (329, 337),
    (337, 345),
)  # byte ranges of ids, times and device numbers
MAX_SIZE: Final = 1 << 60
_BAD: Final = (
    tarfile.TarError,
    ValueError,
    OverflowError,
    LookupError,
    RecursionError,
    struct.error,
)


@dataclass(frozen=True, slots=True)
class Member:
    """A regular member; `problem` is the reason why its bytes cannot be read."""

    name: str
    offset: int
    size: int
    changed_s: float
    problem: str = ""


def walk(file: Any) -> Iterator[Member]:
    """Yield every regular member in the order of the file, which needs read, tell and seek ahead.

    A broken header is yielded as a member named by its position, and reading continues at the next
    valid header. Raises ValueError if the file does not begin like a tar.
    """
    state: Any = SimpleNamespace(fileobj=Headers(file), offset=0, pax_headers={},
                                 encoding=sys.getfilesystemencoding(),
                                 errors="surrogateescape")  # fmt: skip
    start: int | None = 0
    while start is not None:
        file.seek(start)
        try:
            info = _Header.fromtarfile(state)
        except (tarfile.EOFHeaderError, tarfile.EmptyHeaderError) as error:  # type: ignore[attr-defined]
            if start == 0 and not isinstance(error, tarfile.EOFHeaderError):  # type: ignore[attr-defined]
                raise ValueError("an empty file") from error
            return
        except (*_BAD, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EBADMSG:
                raise
            following = _next_header(file)
            if start == 0 and following is None:
                raise ValueError(str(error) or type(error).__name__) from error
            yield Member(f"(broken header at byte {start})", start, 0, 0.0, _reason(start, error))
            start = following
            continue
        member = _member(info)
        if member is not None:
            yield member
        has_bad_size = member is not None and not 0 <= info.size <= MAX_SIZE
        start = info.offset_data if has_bad_size or state.offset <= start else state.offset


def _reason(start: int, error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) else str(error) or type(error).__name__
    if text in {"truncated header", "empty header"}:
        return f"the tar is truncated in the header at byte {start}; copy it again"
    return f"the header at byte {start} is broken: {text}"


class _Header(tarfile.TarInfo):
    """A header whose owner, time and device numbers need not be valid."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> Self:  # type: ignore[override]
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.InvalidHeaderError:  # type: ignore[attr-defined]
            if len(buf) != BLOCK or not _has_checksum(buf):
                raise
        clean = bytearray(buf)
        for first, end in UNIMPORTANT:
            clean[first:end] = b"0" * (end - first - 1) + b"\0"
        clean[148:156] = b" " * 8
        clean[148:156] = b"%06o\0 " % sum(clean)
        return super().frombuf(bytes(clean), encoding, errors)


def _member(info: tarfile.TarInfo) -> Member | None:
    """Return a member; None for folders, links and devices, which have no bytes of their own."""
    if not info.isreg():
        return None
    problem = ""
    if not 0 <= info.size <= MAX_SIZE:
        problem = f"its header states a size of {info.size} bytes"
    elif info.sparse is not None:
        problem = "sparse members are not supported; write the tar without --sparse"
    name = info.name.removeprefix("./")
    size = 0 if problem else info.size
    return Member(name, info.offset_data, size, _seconds(info.mtime), problem)


def _seconds(mtime: Any) -> float:
    try:
        return float(mtime)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _next_header(file: Any) -> int | None:
    """Return the position of the next header with a valid checksum."""
    start = -(-file.tell() // BLOCK) * BLOCK
    file.seek(start)
    while data := file.read(BLOCK_BYTES):
        for first in range(0, len(data), BLOCK):
            block = data[first : first + BLOCK]
            if block[257:262] == b"ustar" and len(block) == BLOCK and _has_checksum(block):
                return int(start + first)
        start += len(data)
    return None


def _has_checksum(block: bytes) -> bool:
    try:
        return tarfile.nti(block[148:156]) in tarfile.calc_chksums(block)  # type: ignore[attr-defined]
    except tarfile.HeaderError:
        return False
