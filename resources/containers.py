"""Pictures inside one file: the members of a tar, the rows of a Parquet column."""

import bisect
import bz2
import errno
import gzip
import lzma
import shutil
import tarfile
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import IO, Any, Protocol

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from invertory.resources.entries import SEPARATOR, Entry, encode, is_hidden
from invertory.resources.folders import check_size, modified, place

UNPACKERS: dict[str, Any] = {
    ".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open,
}  # fmt: skip
TARS = (".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")


class Container(Protocol):
    """A file that holds pictures."""

    def entries(self) -> Iterator[Entry]: ...
    def read(self, member: str, max_bytes: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Members:
    """Where the members of a tar lie, sorted by name."""

    names: list[str]
    offsets: "array[int]"
    sizes: "array[int]"  # in bytes
    changed_s: "array[float]"

    def row(self, name: str) -> int:
        row = bisect.bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise FileNotFoundError(errno.ENOENT, "the tar has no such member", name)
        return row


class Tar:
    """`path.tar::member`, sorted by member; read where they lie, without unpacking.

    A compressed tar is decompressed once, to an unnamed temporary file. What is kept of a member is
    its name and 24 bytes.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name = name
        self._lock = threading.Lock()
        fs, path = place(name, options)
        self._file = _plain_tar(fs, path)
        weakref.finalize(self, self._file.close)
        self._members = _index(self._file, name)

    def entries(self) -> Iterator[Entry]:
        found = self._members
        uris = [_uri(self._name, member) for member in found.names]
        for row in sorted(range(len(uris)), key=uris.__getitem__):
            if not is_hidden(found.names[row]):
                yield Entry(uris[row], found.sizes[row], _utc(found.changed_s[row]))

    def read(self, member: str, max_bytes: int) -> bytes:
        row = self._members.row(member)
        size = self._members.sizes[row]
        check_size(size, max_bytes, member)
        with self._lock:
            self._file.seek(self._members.offsets[row])
            content = self._file.read(size)
        if len(content) < size:
            problem = f"expected {size} bytes, got {len(content)}: the tar is cut"
            raise OSError(errno.EIO, problem, member)
        return content


class Parquet:
    """`path.parquet::row` in the order of the rows, or `::id` where an id column is named.

    The picture column is `struct<bytes, path>` or binary; empty name: the only one there is.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], column: str = "", id_column: str = ""
    ) -> None:
        self._name = name
        self._lock = threading.Lock()
        fs, path = place(name, options)
        self._modified = modified(fs.info(path))
        file = fs.open(path, "rb")
        weakref.finalize(self, file.close)
        self._file = pq.ParquetFile(file, pre_buffer=False)
        self._column = column or _picture_column(self._file.schema_arrow, name)
        counts = [
            self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)
        ]
        self._ends = list(accumulate(counts))
        self._rows = self._ids(id_column) if id_column else None
        self._group: tuple[int, pa.ChunkedArray] | None = None

    def entries(self) -> Iterator[Entry]:
        members = self._rows or (f"{row:09d}" for row in range(self._file.metadata.num_rows))
        for member in members:
            yield Entry(_uri(self._name, member), None, self._modified)

    def read(self, member: str, max_bytes: int) -> bytes:
        row = self._row(member)
        with self._lock:
            value = self._value(row)
        content = value["bytes"] if isinstance(value, dict) else value
        if content is None:
            raise OSError(errno.ENODATA, f"column {self._column!r} holds no bytes there", member)
        check_size(len(content), max_bytes, member)
        return bytes(content)

    def _row(self, member: str) -> int:
        if self._rows is not None and member in self._rows:
            return self._rows[member]
        if (
            self._rows is None
            and member.isdecimal()
            and self._ends
            and int(member) < self._ends[-1]
        ):
            return int(member)
        raise FileNotFoundError(errno.ENOENT, "the Parquet file has no such row", member)

    def _value(self, row: int) -> Any:
        """Rows come in order, so the row group of the last one is kept."""
        number = bisect.bisect_right(self._ends, row)
        if self._group is None or self._group[0] != number:
            read = self._file.read_row_group(number, [self._column], use_threads=False)
            self._group = number, read.column(0)
        first = self._ends[number - 1] if number else 0
        return self._group[1][row - first].as_py()

    def _ids(self, column: str) -> dict[str, int]:
        _check_column(self._file.schema_arrow, column, self._name)
        ids = [str(value) for value in self._file.read([column]).column(0).to_pylist()]
        rows = {name: row for row, name in enumerate(ids)}
        if len(rows) < len(ids):
            raise ValueError(
                f"expected an id for each row in column {column!r} of {self._name}, got "
                f"{len(rows)} ids for {len(ids)} rows; leave id_column empty to use row numbers"
            )
        return rows


def _uri(name: str, member: str) -> str:
    return f"{encode(name)}{SEPARATOR}{encode(member)}"


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _plain_tar(fs: fsspec.AbstractFileSystem, path: str) -> IO[bytes]:
    unpack = next((UNPACKERS[end] for end in UNPACKERS if path.endswith(end)), None)
    packed: IO[bytes] = fs.open(path, "rb")
    if unpack is None:
        return packed
    plain: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the Tar)
    with packed, unpack(packed) as source:
        shutil.copyfileobj(source, plain, 1 << 20)
    return plain


def _index(file: IO[bytes], name: str) -> _Members:
    """Regular members, "./" left out; of two with one name the last, as tar does."""
    file.seek(0)
    rows: dict[str, int] = {}
    offsets, sizes, changed_s = array("q"), array("q"), array("d")
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (info := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # else it keeps a kilobyte of each
                if info.isreg():
                    rows[info.name.removeprefix("./")] = len(sizes)
                    offsets.append(info.offset_data)
                    sizes.append(info.size)
                    changed_s.append(info.mtime)
    except tarfile.TarError as error:
        problem = f"expected a whole tar, got: {error}; copy it anew"
        raise OSError(errno.EIO, problem, name) from error
    names = sorted(rows)
    order = [rows[member] for member in names]
    return _Members(
        names,
        array("q", (offsets[row] for row in order)),
        array("q", (sizes[row] for row in order)),
        array("d", (changed_s[row] for row in order)),
    )


def _picture_column(schema: pa.Schema, name: str) -> str:
    found = [field.name for field in schema if _holds_pictures(field.type)]
    if len(found) != 1:
        raise ValueError(
            f"expected one column of pictures (binary or struct<bytes, path>) in {name}, got "
            f"{found} of {schema.names}; name it as `column`"
        )
    return found[0]


def _holds_pictures(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _check_column(schema: pa.Schema, column: str, name: str) -> None:
    if column not in schema.names:
        raise ValueError(f"expected column {column!r} in {name}, got {schema.names}; choose one")
