"""Columns that lie in a file of their own beside their table: the states of inversions.

A state may be a thousand times its latent, so a table that held it would be slow for all who ask
for latents alone. `<table>/<shard>.parquet` has the other columns, `<table>/_state/<shard>.parquet`
the same rows' ids and states, in the same order and under the same key; a reader that asks for both
is given both.
"""

from collections.abc import Iterator, Sequence

import fsspec
import pyarrow as pa

from invertory.resources.parquet import read_file, read_footer, read_metadata, read_schema

FOLDER = "_state/"
COLUMNS = ("state",)
ROW_GROUP_ROWS = 16  # of what may be megabytes a row


def aside_schema(schema: pa.Schema) -> pa.Schema | None:
    """Of the file beside: the first column, which names the row, and those that lie aside."""
    names = [name for name in COLUMNS if name in schema.names]
    return pa.schema([schema.field(n) for n in (schema.names[0], *names)]) if names else None


def main_schema(schema: pa.Schema) -> pa.Schema:
    """Of the table's own file."""
    return pa.schema([field for field in schema if field.name not in COLUMNS])


def whole_schema(fs: fsspec.AbstractFileSystem, path: str, aside: str) -> pa.Schema:
    """Of both files together, the columns aside last."""
    schema = read_schema(fs, path)
    if not _is_beside(fs, path, aside):
        return schema
    return pa.schema([*schema, *(f for f in read_schema(fs, aside) if f.name in COLUMNS)])


def read_whole(
    fs: fsspec.AbstractFileSystem,
    path: str,
    aside: str,
    columns: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Batches as `read_file` gives them, of both files where columns of both are asked for."""
    wanted = [name for name in COLUMNS if columns is None or name in columns]
    if not wanted or not _is_beside(fs, path, aside):
        yield from read_file(fs, path, columns, batch_rows)
        return
    own = None if columns is None else [name for name in columns if name not in wanted]
    beside = _Rows(read_file(fs, aside, wanted, ROW_GROUP_ROWS))
    for batch in read_file(fs, path, own, batch_rows):
        taken = beside.take(batch.num_rows)
        table = pa.Table.from_batches([batch])
        for name in wanted:
            table = table.append_column(taken.schema.field(name), taken.column(name))
        order = table.column_names if columns is None else list(columns)
        yield from table.select(order).combine_chunks().to_batches()


class _Rows:
    """A stream of batches from which any number of rows is taken at a time."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self._held: list[pa.RecordBatch] = []

    def take(self, num_rows: int) -> pa.Table:
        while sum(batch.num_rows for batch in self._held) < num_rows:
            self._held.append(next(self._batches))
        held = pa.Table.from_batches(self._held)
        self._held = held.slice(num_rows).to_batches()
        return held.slice(0, num_rows)


def _is_beside(fs: fsspec.AbstractFileSystem, path: str, aside: str) -> bool:
    """Whether there is a file aside, of the same rows; one under another key is on its way."""
    found = read_metadata(fs, aside)
    if found is None:
        return False
    main = read_metadata(fs, path)
    keys = [read_footer(one).get("key") for one in (found, main) if one is not None]
    if main is not None and (keys[0] != keys[1] or found.num_rows != main.num_rows):
        raise ValueError(
            f"expected {aside} to be of the same key and rows as {path}, got {keys[0]} with "
            f"{found.num_rows} rows: the table is just being published anew; read it again"
        )
    return True
