"""One Parquet file as this project writes it: checked rows, row groups of 256, checksums."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from invertory.resources.atomic import replacing
from invertory.resources.seals import (
    CHECKSUMS,
    SEAL,
    CorruptFileError,
    Footer,
    placeholders,
    read_verified,
    seal,
    verify_bytes,
)
from invertory.resources.verified_file import VerifiedFile

ROW_GROUP_ROWS = 256  # 9.4 MB of [18, 512] latents: fair both to streams and to look-ups
PREFIX = "invertory."


class Writer:
    """Writes rows to an open file; refuses rows that differ from `schema`.

    `close` takes the footer, as counts and times are known only then. `file` must be readable too.
    """

    def __init__(self, file: IO[bytes], path: str, schema: pa.Schema, group_rows: int) -> None:
        self.schema, self._group_rows = schema, group_rows
        self._file, self._path = file, path
        self.num_rows = self._num_groups = 0
        self.content = ""  # digest of the rows, known once the file is closed
        self._held: list[pa.RecordBatch] = []
        self._num_held = 0
        plain = [field.name for field in schema if _is_plain(field.type)]
        self._writer = pq.ParquetWriter(
            file,
            schema,
            compression="zstd",
            compression_level=3,
            use_dictionary=plain,  # a dictionary of tensors or images only costs space
            write_statistics=plain,
            write_page_index=True,
            write_page_checksum=True,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Collect rows until a row group is full, so that groups do not depend on the batches."""
        check_rows(batch, self.schema)
        self.num_rows += batch.num_rows
        while batch.num_rows:
            taken = batch.slice(0, self._group_rows - self._num_held)
            self._held.append(taken)
            self._num_held += taken.num_rows
            batch = batch.slice(taken.num_rows)
            if self._num_held == self._group_rows:
                self._flush()

    def close(self, footer: Mapping[str, str]) -> None:
        """Write the last row group and the footer, its keys prefixed `invertory.`; then seal it."""
        self._flush()
        entries = {PREFIX + name: text for name, text in footer.items()}
        seals = placeholders(self._num_groups, self.schema)
        self._writer.add_key_value_metadata(entries | seals)
        self._writer.close()
        self.content = seal(self._file, self._path)

    def abandon(self) -> None:
        """Close Arrow's writer while the file is open; garbage collection would do it too late."""
        with contextlib.suppress(Exception):
            self._writer.close()

    def _flush(self) -> None:
        if self._num_held:
            group = pa.Table.from_batches(self._held, schema=self.schema)
            self._writer.write_table(group, row_group_size=self._group_rows)
            self._num_groups += 1
        self._held, self._num_held = [], 0


@contextlib.contextmanager
def writing(
    fs: fsspec.AbstractFileSystem,
    path: str,
    schema: pa.Schema,
    group_rows: int = ROW_GROUP_ROWS,
) -> Iterator[Writer]:
    """A `Writer`, to be closed in the block; `path` holds the file once the block ends well."""
    with replacing(fs, path) as file:
        writer = Writer(file, path, schema, group_rows)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise


def write_file(
    fs: fsspec.AbstractFileSystem,
    path: str,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    footer: Mapping[str, str],
) -> None:
    """Write rows and a footer that is known beforehand."""
    with writing(fs, path, schema) as writer:
        for batch in batches:
            writer.write(batch)
        writer.close(footer)


def read_file(
    fs: fsspec.AbstractFileSystem, path: str, columns: Sequence[str] | None, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Batches of at most `batch_rows`, a row group in memory at a time, columns as asked.

    CorruptFileError where bytes that are read do not match their checksums.
    """
    with fs.open(path, "rb") as file, _naming(path):
        footer = read_verified(file, path)
        parquet = pq.ParquetFile(
            VerifiedFile(file, path, footer) if footer.chunks else file,
            metadata=footer.metadata,
            pre_buffer=False,
            page_checksum_verification=True,
        )
        names = _columns(path, parquet.schema_arrow.names, columns)
        batches = parquet.iter_batches(batch_size=batch_rows, columns=names, use_threads=False)
        for batch in batches:
            yield batch.select(names).replace_schema_metadata(None)


def read_schema(fs: fsspec.AbstractFileSystem, path: str) -> pa.Schema:
    """The columns of a file, without its footer."""
    return _open_footer(fs, path).metadata.schema.to_arrow_schema().remove_metadata()


def read_metadata(fs: fsspec.AbstractFileSystem, path: str) -> pq.FileMetaData | None:
    """The footer as Arrow reads it; None where the file is missing or its footer is corrupt."""
    try:
        return _open_footer(fs, path).metadata
    except (FileNotFoundError, IsADirectoryError, CorruptFileError):
        return None


def verify_file(fs: fsspec.AbstractFileSystem, path: str) -> None:
    """CorruptFileError where any byte of the file differs from the one that was written.

    A file of an earlier version, without checksums, is decoded instead.
    """
    with fs.open(path, "rb") as file:
        if verify_bytes(file, path):
            return
    for _ in read_file(fs, path, None, ROW_GROUP_ROWS):
        pass


def _open_footer(fs: fsspec.AbstractFileSystem, path: str) -> Footer:
    with fs.open(path, "rb") as file:
        return read_verified(file, path)


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Turn Arrow's errors about broken bytes into ones that name the file."""
    try:
        yield
    except pa.ArrowException as error:
        raise CorruptFileError(path, _first_line(error)) from error
    except OSError as error:
        if isinstance(error, CorruptFileError) or error.errno is not None:
            raise
        raise CorruptFileError(
            path, _first_line(error)
        ) from error  # Arrow's; the disk's have a number


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def read_footer(metadata: pq.FileMetaData) -> dict[str, str]:
    """Our keys, without the prefix and without the checksums."""
    start, technical = PREFIX.encode(), {CHECKSUMS.encode(), SEAL.encode()}
    items = (metadata.metadata or {}).items()
    return {
        name.removeprefix(start).decode(): text.decode()
        for name, text in items
        if name.startswith(start) and name not in technical
    }


def check_rows(batch: pa.RecordBatch, schema: pa.Schema) -> None:
    """ValueError where the columns differ from `schema` or a never-null column holds a null."""
    if not batch.schema.equals(schema):
        raise ValueError(
            "rows do not fit their table\n"
            f"expected: {_fields(schema)}\n"
            f"got:      {_fields(batch.schema)}\n"
            "create the rows with the schema of ops/schemas.py that the store got"
        )
    for field in schema:
        _check_nulls(batch.column(field.name), field, field.name)


def _check_nulls(array: pa.Array, field: pa.Field, name: str) -> None:
    if array.null_count and not field.nullable:
        row = array.is_null().index(True).as_py()
        raise ValueError(
            f"column {name!r} expected no null, got {array.null_count} (the first at {row}); "
            "rows that failed belong to the rejects"
        )
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        _check_nulls(array.flatten(), kind.value_field, name + "[]")
    elif pa.types.is_struct(kind):
        for child, values in zip(kind, array.flatten(), strict=True):
            _check_nulls(values, child, f"{name}.{child.name}")


def _is_plain(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind))


def _fields(schema: pa.Schema) -> str:
    return ", ".join(
        f"{field.name}: {field.type}{'' if field.nullable else ' not null'}" for field in schema
    )


def _columns(path: str, have: list[str], want: Sequence[str] | None) -> list[str]:
    missing = sorted(set(want or ()) - set(have))
    if missing:
        raise ValueError(f"expected columns {missing} in {path}, got only {have}; ask for those")
    return list(want) if want is not None else have
