"""The states of inversions, in a file of their own beside their table.

A state may be a thousand times larger than its latent, and would slow down everyone who reads only
latents. `<table>/<shard>.parquet` has the other columns; `<table>/_state/<shard>.parquet` has the
ids and states of the same rows, in the same order and under the same key. Readers that ask for
columns of both get both.
"""

from collections.abc import Iterator, Sequence

import fsspec
import pyarrow as pa

from invertory.resources.parquet import read_file, read_footer, read_metadata, read_schema

COLUMNS = ("state",)
ROW_GROUP_ROWS = 16  # a row may have megabytes


def state_schema(schema: pa.Schema) -> pa.Schema | None:
    """The schema of the state file: the id, which is the first column, and the states."""
    names = [name for name in COLUMNS if name in schema.names]
    return pa.schema([schema.field(n) for n in (schema.names[0], *names)]) if names else None


def main_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of the table's own file."""
    return pa.schema([field for field in schema if field.name not in COLUMNS])


def joined_schema(fs: fsspec.AbstractFileSystem, path: str, state_path: str) -> pa.Schema:
    """The schema of both files together, states last."""
    schema = read_schema(fs, path)
    if not _has_states(fs, path, state_path):
        return schema
    return pa.schema([*schema, *(f for f in read_schema(fs, state_path) if f.name in COLUMNS)])


def read_joined(
    fs: fsspec.AbstractFileSystem,
    path: str,
    state_path: str,
    columns: Sequence[str] | None,
    batch_rows: int,
) -> Iterator[pa.RecordBatch]:
    """Batches as `read_file` gives them, from both files where `columns` names states."""
    wanted = [name for name in COLUMNS if columns is None or name in columns]
    if not wanted or not _has_states(fs, path, state_path):
        yield from read_file(fs, path, columns, batch_rows)
        return
    own = None if columns is None else [name for name in columns if name not in wanted]
    states = _Rows(read_file(fs, state_path, wanted, ROW_GROUP_ROWS))
    for batch in read_file(fs, path, own, batch_rows):
        taken = states.take(batch.num_rows)
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


def _has_states(fs: fsspec.AbstractFileSystem, path: str, state_path: str) -> bool:
    """Whether there is a state file of the same rows; ValueError for one of other rows."""
    states = read_metadata(fs, state_path)
    if states is None:
        return False
    main = read_metadata(fs, path)
    if main is None:
        return True
    keys = [read_footer(one).get("key") for one in (states, main)]
    if keys[0] != keys[1] or states.num_rows != main.num_rows:
        raise ValueError(
            f"expected {state_path} to have the key and rows of {path}, got {keys[0]} with "
            f"{states.num_rows} rows: the table is being published anew; read it again"
        )
    return True
