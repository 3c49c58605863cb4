"""Published shards: their rows, rejects, footers and figures, and whether they are whole."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from invertory.resources.footers import Accumulator, Published, check_name
from invertory.resources.parquet import (
    ROW_GROUP_ROWS,
    read_file,
    read_footer,
    read_metadata,
    read_schema,
)
from invertory.resources.sets import Fault, SetVersions
from invertory.resources.tables import siblings, state_files
from invertory.resources.tables.paths import SETS, TablePaths

EXPORTS = "exports"  # tables that index a set


class TableReader(TablePaths):
    """The tables of one recipe, for reading."""

    def read(
        self,
        table: str,
        shard: str,
        columns: Sequence[str] | None = None,
        batch_rows: int = ROW_GROUP_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """The rows in batches of at most `batch_rows`, a row group in memory at a time."""
        paths = self.path(table, shard), self.state_path(table, shard)
        try:
            yield from state_files.read_joined(self.fs, *paths, columns, batch_rows)
        except FileNotFoundError as error:
            raise self._missing(table, shard) from error

    def read_all(
        self, table: str, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of every shard, shards in the order of their names."""
        for shard in self.shards(table):
            yield from self.read(table, shard, columns)

    def table(
        self, table: str, shard: str = "all", columns: Sequence[str] | None = None
    ) -> pa.Table:
        """A small table as a whole."""
        batches = list(self.read(table, shard, columns))
        schema = self.schema(table, shard)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns])
        return pa.Table.from_batches(batches, schema=schema)

    def rejects(self, table: str, shard: str) -> pa.Table:
        """The inputs that gave no row; without columns where the table cannot have any."""
        path = self.path(table, shard, siblings.REJECTS)
        if read_metadata(self.fs, path) is None:
            return pa.table({})
        schema = read_schema(self.fs, path)
        return pa.Table.from_batches(read_file(self.fs, path, None, ROW_GROUP_ROWS), schema=schema)

    def num_rows(self, table: str, shard: str) -> int:
        """Rows of a published shard."""
        metadata = read_metadata(self.fs, self.path(table, shard))
        if metadata is None:
            raise self._missing(table, shard)
        return int(metadata.num_rows)

    def schema(self, table: str, shard: str) -> pa.Schema:
        """The columns of a published shard."""
        paths = self.path(table, shard), self.state_path(table, shard)
        try:
            return state_files.joined_schema(self.fs, *paths)
        except FileNotFoundError as error:
            raise self._missing(table, shard) from error

    def footer(self, table: str, shard: str) -> dict[str, str] | None:
        """The footer of the shard's file; None where there is no whole file."""
        metadata = read_metadata(self.fs, self.path(table, shard))
        return None if metadata is None else read_footer(metadata)

    def key(self, table: str, shard: str) -> str | None:
        """The key it was published under; None where the shard or a file of it is missing."""
        footer = self.footer(table, shard)
        if footer is None or self.faults(table, shard, footer):
            return None
        return footer.get("key")

    def summary(
        self,
        table: str,
        shard: str,
        totals: Callable[[], Accumulator] | None = None,
        *,
        reused: bool = True,
    ) -> Published:
        """The figures of a published shard, read from its footer.

        Figures of `totals` that the footer of an earlier version lacks are added up from the rows.
        """
        path = self.path(table, shard)
        metadata = read_metadata(self.fs, path)
        if metadata is None:
            raise self._missing(table, shard)
        footer = read_footer(metadata)
        figures = json.loads(footer.get("totals", "{}"))
        if totals is not None and totals().figures().keys() - figures.keys():
            figures |= self._add_up(table, shard, totals())
        return Published(
            table=table,
            shard=shard,
            key=footer.get("key", ""),
            num_inputs=int(footer["num_inputs"]),
            num_rows=metadata.num_rows,
            rejects=json.loads(footer.get("rejects", "{}")),
            elapsed_s=float(footer.get("elapsed_s", 0)),
            reused=reused,
            size_bytes=self.fs.size(path) + self._state_bytes(table, shard),
            uri=self.uri(table, shard),
            totals=figures,
        )

    def _add_up(self, table: str, shard: str, totals: Accumulator) -> dict[str, Any]:
        """The figures of a shard as its rows and rejects give them."""
        columns = totals.columns or self.schema(table, shard).names[:1]
        for batch in self.read(table, shard, columns):
            totals.add_rows(batch)
        for batch in self.rejects(table, shard).to_batches():
            totals.add_rejects(batch)
        return totals.figures()

    def siblings(self, table: str, shard: str) -> list[str]:
        """Paths of the files that lie beside the shard's own."""
        paths = [self.path(table, shard, folder) for folder in siblings.FOLDERS]
        return [path for path in paths if self.fs.exists(path)]

    def faults(self, table: str, shard: str, footer: Mapping[str, str]) -> list[str]:
        """Files that the shard needs and that are missing, cut or hold other rows."""
        of_set = (path for path, _ in self.set_faults(table, shard, footer))
        return [*self.sibling_faults(table, shard, footer), *of_set]

    def sibling_faults(self, table: str, shard: str, footer: Mapping[str, str]) -> list[str]:
        """The same for the files beside the shard's own."""
        return list(siblings.faults(self.fs, footer, lambda f: self.path(table, shard, f)))

    def set_faults(
        self, table: str, shard: str, footer: Mapping[str, str], *, is_thorough: bool = False
    ) -> Iterator[Fault]:
        """What is wrong with the exported set that a table of `exports/` indexes."""
        name, _, method = table.partition("/")
        formats = json.loads(footer.get("config", "{}")).get("export", {}).get("formats", ())
        if name == EXPORTS and formats:
            yield from self.sets(method).faults(
                footer["key"], formats, self.num_rows(table, shard), is_thorough=is_thorough
            )

    def sets(self, method: str) -> SetVersions:
        """The exported sets of a method."""
        return SetVersions(self.fs, f"{self.base}/{SETS}/{check_name(method, 'method')}")

    def _state_bytes(self, table: str, shard: str) -> int:
        try:
            return int(self.fs.size(self.state_path(table, shard)))
        except FileNotFoundError:
            return 0

    def _missing(self, table: str, shard: str) -> FileNotFoundError:
        return FileNotFoundError(
            f"expected table {table!r} to have shard {shard!r} in {self.base}, "
            f"got {self.shards(table)[:5]}; materialise {table!r} first"
        )
