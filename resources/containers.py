"""Images inside one file: the members of a tar, or the rows of a Parquet column."""

import bisect
import errno
import math
import tempfile
import threading
import weakref
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import IO, Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from invertory.resources.entries import SEPARATOR, Entry, encode, is_hidden
from invertory.resources.folders import check_size, filesystem_of, modified
from invertory.resources.tars import Member, walk
from invertory.resources.unpacking import BLOCK_BYTES, FREE_BYTES, MAX_RATIO, Unpacked, unpacker_of

TARS = (
    ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".tzst", ".tar.zst",
)  # fmt: skip
MAX_MEMBER_BYTES = 256 << 20


class Container(Protocol):
    """A file that contains images."""

    def entries(self) -> Iterator[Entry]: ...
    def read(self, member: str, max_bytes: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Members:
    """The positions of the members of a tar, sorted by name."""

    names: list[str]
    offsets: "array[int]"
    sizes: "array[int]"  # in bytes
    changed_s: "array[float]"
    problems: dict[int, str]  # by row
    too_large: set[int]  # rows

    def row(self, name: str) -> int:
        row = bisect.bisect_left(self.names, name)
        if row == len(self.names) or self.names[row] != name:
            raise FileNotFoundError(errno.ENOENT, "the tar has no such member", name)
        return row


class Tar:
    """`path.tar::member`, sorted by member; an uncompressed tar is read in place.

    The members of a compressed tar, up to `max_bytes` each, are unpacked once to an unnamed
    temporary file. The index holds the name of a member and 24 bytes. A member that cannot be read
    is listed too, and reading it raises why.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], max_bytes: int = MAX_MEMBER_BYTES
    ) -> None:
        self._name = name
        self._lock = threading.Lock()
        fs, path = filesystem_of(name, options)
        unpack = unpacker_of(path)
        packed = fs.open(path, "rb")
        self._file = packed if unpack is None else tempfile.TemporaryFile()  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        try:
            if unpack is None:
                self._members = _index(_plain(packed))
            else:
                with packed, unpack(packed) as source:
                    stream = Unpacked(source, fs.info(path).get("size") or 0)
                    self._members = _index(_unpacked(stream, self._file, max_bytes))
        except ValueError as error:
            problem = f"expected a complete tar, got: {error}; copy it again"
            raise OSError(errno.EBADMSG, problem, name) from error

    def entries(self) -> Iterator[Entry]:
        members = self._members
        uris = [_uri(self._name, member) for member in members.names]
        for row in sorted(range(len(uris)), key=uris.__getitem__):
            if not is_hidden(members.names[row]):
                size = None if row in members.problems else members.sizes[row]
                yield Entry(uris[row], size, _utc(members.changed_s[row]))

    def read(self, member: str, max_bytes: int) -> bytes:
        row = self._members.row(member)
        if problem := self._members.problems.get(row):
            number = errno.EFBIG if row in self._members.too_large else errno.EBADMSG
            raise OSError(number, problem, member)
        size = self._members.sizes[row]
        check_size(size, max_bytes, member)
        with self._lock:
            self._file.seek(self._members.offsets[row])
            content = self._file.read(size)
        if len(content) < size:
            problem = f"expected {size} bytes, got {len(content)}: the tar is truncated"
            raise OSError(errno.EBADMSG, problem, member)
        return content


class Parquet:
    """`path.parquet::row` in the order of the rows, or `::id` if there is an id column.

    The image column is `struct<bytes, path>` or binary, in any Arrow layout, and may be nested in
    structs (`sample.image`). An empty name selects the only image column.
    """

    def __init__(
        self, name: str, options: Mapping[str, Any], column: str = "", id_column: str = ""
    ) -> None:
        self._name = name
        self._lock = threading.Lock()
        fs, path = filesystem_of(name, options)
        self._modified = modified(fs.info(path))
        file = fs.open(path, "rb")
        weakref.finalize(self, file.close)
        self._file = pq.ParquetFile(file, pre_buffer=False)
        self._column = _image_column(self._file.schema_arrow, column, name)
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
            content = self._value(row)
        if content is None:
            raise OSError(errno.ENODATA, f"column {self._column!r} is null in this row", member)
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

    def _value(self, row: int) -> bytes | None:
        """Read a value, keeping the row group of the last one, since rows are read in order."""
        number = bisect.bisect_right(self._ends, row)
        if self._group is None or self._group[0] != number:
            self._group = None
            self._group = number, self._read_group(number)
        first = self._ends[number - 1] if number else 0
        value: Any = self._group[1][row - first].as_py()
        for part in [*self._column.split(".")[1:], "bytes"]:
            value = value.get(part) if isinstance(value, dict) else value
        found: bytes | None = value
        return found

    def _read_group(self, number: int) -> pa.ChunkedArray:
        """Read the image column of a row group; OSError if it is broken or a decompression bomb."""
        packed, unpacked = self._sizes(number)
        if unpacked > max(FREE_BYTES, MAX_RATIO * packed):
            problem = f"row group {number} unpacks from {packed} to {unpacked} bytes"
            raise OSError(errno.EFBIG, problem, self._name)
        try:
            read = self._file.read_row_group(number, [self._column], use_threads=False)
        except (OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            problem = f"row group {number} is broken: {error}"
            raise OSError(errno.EBADMSG, problem, self._name) from error
        return read.column(0)

    def _sizes(self, number: int) -> tuple[int, int]:
        """Return the compressed and the uncompressed bytes of the image column in a row group."""
        group = self._file.metadata.row_group(number)
        chunks = [group.column(i) for i in range(group.num_columns)]
        own = [c for c in chunks if f"{c.path_in_schema}.".startswith(f"{self._column}.")]
        return (sum(c.total_compressed_size for c in own),
                sum(c.total_uncompressed_size for c in own))  # fmt: skip

    def _ids(self, column: str) -> dict[str, int]:
        _check_column(self._file.schema_arrow, column, self._name)
        ids = [str(value) for value in self._file.read([column]).column(0).to_pylist()]
        rows = {name: row for row, name in enumerate(ids)}
        if len(rows) < len(ids):
            raise ValueError(
                f"expected a distinct id in each row of column {column!r} of {self._name}, got "
                f"{len(rows)} ids for {len(ids)} rows; leave id_column empty to use row numbers"
            )
        return rows


def _uri(name: str, member: str) -> str:
    return f"{encode(name)}{SEPARATOR}{encode(member)}"


def _utc(seconds: float) -> str | None:
    """Format a time as UTC; None if it is out of range."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        return None


def _plain(file: IO[bytes]) -> Iterator[Member]:
    """Yield the members of an uncompressed tar."""
    end = file.seek(0, 2)
    for member in walk(file):
        if not member.problem and member.offset + member.size > end:
            missing = member.offset + member.size - end
            problem = (
                f"the tar is truncated: {missing} bytes of this member are missing; copy it again"
            )
            member = replace(member, problem=problem)
        yield member


def _unpacked(stream: Unpacked, plain: IO[bytes], max_bytes: int) -> Iterator[Member]:
    """Yield the members of a compressed tar and write their bytes to `plain`."""
    for member in walk(stream):
        if member.problem:
            yield member
        elif member.size > max_bytes:
            yield replace(member, offset=-1, problem=f"expected at most {max_bytes} bytes, got "
                          f"{member.size}")  # fmt: skip
        else:
            offset = plain.tell()
            problem = (
                "" if _copy(stream, member, plain) else "the tar is truncated here; copy it again"
            )
            yield replace(member, offset=offset, problem=stream.problem or problem)
    if stream.problem:
        yield Member("(rest of the tar)", 0, 0, math.nan, f"the archive {stream.problem}")


def _copy(stream: Unpacked, member: Member, plain: IO[bytes]) -> bool:
    """Copy a member; return True if all of its bytes were there."""
    stream.seek(member.offset)
    left = member.size
    while left and (block := stream.read(min(left, BLOCK_BYTES))):
        plain.write(block)
        left -= len(block)
    return not left


def _index(members: Iterable[Member]) -> _Members:
    """Index members by name; the last one of a name wins, as with tar."""
    rows: dict[str, int] = {}
    offsets, sizes, changed_s = array("q"), array("q"), array("d")
    problems: dict[int, str] = {}
    too_large: set[int] = set()
    for member in members:
        row = rows[member.name] = len(sizes)
        offsets.append(member.offset)
        sizes.append(member.size)
        changed_s.append(member.changed_s)
        if member.problem:
            problems[row] = member.problem
        if member.offset < 0:
            too_large.add(row)
    names = sorted(rows)
    order = [rows[member] for member in names]
    places = {row: place for place, row in enumerate(order)} if problems else {}
    return _Members(
        names,
        array("q", (offsets[row] for row in order)),
        array("q", (sizes[row] for row in order)),
        array("d", (changed_s[row] for row in order)),
        {places[row]: text for row, text in problems.items() if row in places},
        {places[row] for row in too_large if row in places},
    )


def _image_column(schema: pa.Schema, requested: str, name: str) -> str:
    """Return `requested` or the only image column; a dot selects a field of a struct."""
    columns = [path for field in schema for path in _image_paths(field)]
    if requested in columns or (not requested and len(columns) == 1):
        return requested or columns[0]
    if requested:
        raise ValueError(
            f"expected a column of images (binary or struct<bytes, path>) called {requested!r} in "
            f"{name}, got {columns} of {schema.names}; name one of them as `column`"
        )
    raise ValueError(
        f"expected one column of images (binary or struct<bytes, path>) in {name}, got "
        f"{columns} of {schema.names}; name it as `column`"
    )


def _image_paths(field: pa.Field, prefix: str = "") -> Iterator[str]:
    """Yield the paths in a column that contain images."""
    kind, path = _stored(field.type), prefix + field.name
    if _is_bytes(kind) or _holds_bytes(kind):
        yield path
    elif pa.types.is_struct(kind):
        for child in kind:
            yield from _image_paths(child, f"{path}.")


def _holds_bytes(kind: pa.DataType) -> bool:
    """Return True for struct<bytes, ...>."""
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    return _is_bytes(_stored(kind.field("bytes").type))


def _is_bytes(kind: pa.DataType) -> bool:
    checks = (
        pa.types.is_binary,
        pa.types.is_large_binary,
        pa.types.is_binary_view,
        pa.types.is_fixed_size_binary,
    )
    return any(check(kind) for check in checks) and not pa.types.is_decimal(kind)


def _stored(kind: pa.DataType) -> pa.DataType:
    """Return the storage type of a dictionary or an extension type."""
    while pa.types.is_dictionary(kind) or isinstance(kind, pa.BaseExtensionType):
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind.storage_type
    return kind


def _check_column(schema: pa.Schema, column: str, name: str) -> None:
    if column not in schema.names:
        raise ValueError(f"expected column {column!r} in {name}, got {schema.names}; choose one")
