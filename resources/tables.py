"""The store: one Parquet file per table and shard, on any fsspec root.

`<root>/<recipe>/<table>/<shard>.parquet`; what failed lies in `<table>/_rejects/<shard>.parquet`,
the states of inversions in `<table>/_state/` (see `asides`), the chunks of an unfinished shard in
`<table>/_parts/`. A file whose footer bears the wanted key is done. All that a kill can cost is the
chunk that was being made and the one that was being written.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import fsspec
import pyarrow as pa
from pydantic import Field

from invertory.resources import asides
from invertory.resources.addresses import Address, expanded
from invertory.resources.atomic import is_local, sweep
from invertory.resources.footers import Published, check_name, given, told
from invertory.resources.parquet import (
    ROW_GROUP_ROWS,
    read_file,
    read_footer,
    read_metadata,
    read_schema,
    writing,
)
from invertory.resources.parts import ChunkLike, Part, Parts, list_folder, num_inputs
from invertory.resources.redaction import hiding_secrets, redacted

ATTEMPTS = 5  # at a shard whose parts another process keeps removing


class Store:
    """The tables of one recipe. `root` is a local path or a URL that fsspec knows."""

    def __init__(self, root: str, recipe: str, **storage_options: Any) -> None:
        with hiding_secrets(Address(root)):
            self.fs, base = fsspec.core.url_to_fs(expanded(root), **storage_options)
        self.base = f"{base.rstrip('/')}/{check_name(recipe, 'recipe')}"

    # Reading

    def read(
        self,
        table: str,
        shard: str,
        columns: Sequence[str] | None = None,
        batch_rows: int = ROW_GROUP_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """The rows in batches of at most `batch_rows`, a row group in memory at a time."""
        try:
            path, aside = self._path(table, shard), self._path(table, shard, asides.FOLDER)
            yield from asides.read_whole(self.fs, path, aside, columns, batch_rows)
        except FileNotFoundError as error:
            raise self._absent(table, shard) from error

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
        path = self._path(table, shard, "_rejects/")
        if read_metadata(self.fs, path) is None:
            return pa.table({})
        schema = read_schema(self.fs, path)
        return pa.Table.from_batches(read_file(self.fs, path, None, ROW_GROUP_ROWS), schema=schema)

    def shards(self, table: str) -> list[str]:
        """Names of the published shards, sorted."""
        names = (path.rsplit("/", 1)[-1] for path in list_folder(self.fs, self._folder(table)))
        return [name[: -len(".parquet")] for name in names if _is_table_file(name)]

    def tables(self) -> list[str]:
        """Names of the tables that hold a shard, sorted; a method's is `latents/<method>`."""
        self.fs.invalidate_cache()
        names = (path[len(self.base) + 1 :] for path in self.fs.find(self.base))
        split = (name.rpartition("/") for name in names)
        return sorted({table for table, _, name in split if table and _is_table_file(name)
                       and not any(part[0] in "._" for part in table.split("/"))})  # fmt: skip

    def footer(self, table: str, shard: str) -> dict[str, str] | None:
        """What the file says of itself; None where there is no whole file."""
        metadata = read_metadata(self.fs, self._path(table, shard))
        return None if metadata is None else read_footer(metadata)

    def key(self, table: str, shard: str) -> str | None:
        """The key it was published under; None where it is not done."""
        return (self.footer(table, shard) or {}).get("key")

    def num_rows(self, table: str, shard: str) -> int:
        """Rows of a published shard."""
        metadata = read_metadata(self.fs, self._path(table, shard))
        if metadata is None:
            raise self._absent(table, shard)
        return int(metadata.num_rows)

    def schema(self, table: str, shard: str) -> pa.Schema:
        """The columns of a published shard."""
        try:
            path, aside = self._path(table, shard), self._path(table, shard, asides.FOLDER)
            return asides.whole_schema(self.fs, path, aside)
        except FileNotFoundError as error:
            raise self._absent(table, shard) from error

    def summary(self, table: str, shard: str, *, reused: bool = True) -> Published:
        """A published shard in figures, read from its footer."""
        path = self._path(table, shard)
        metadata = read_metadata(self.fs, path)
        if metadata is None:
            raise self._absent(table, shard)
        footer = read_footer(metadata)
        return Published(
            table=table,
            shard=shard,
            key=footer.get("key", ""),
            num_rows=metadata.num_rows,
            rejects=json.loads(footer.get("rejects", "{}")),
            elapsed_s=float(footer.get("elapsed_s", 0)),
            reused=reused,
            size_bytes=self.fs.size(path) + self._aside_bytes(table, shard),
            uri=self.uri(table, shard),
        )

    def _aside_bytes(self, table: str, shard: str) -> int:
        try:
            return int(self.fs.size(self._path(table, shard, asides.FOLDER)))
        except FileNotFoundError:
            return 0

    def uri(self, table: str, shard: str) -> str:
        """Where the file lies: a path on this host, else a URL."""
        path = self._path(table, shard)
        return path if is_local(self.fs) else redacted(self.fs.unstrip_protocol(path))

    # Publishing

    def publish(
        self,
        table: str,
        shard: str,
        *,
        schema: pa.Schema,
        key: str,
        footer: Mapping[str, str],
        chunks: Callable[[int], Iterable[ChunkLike]],
        rejects_schema: pa.Schema,
    ) -> Published:
        """Make the shard, or go on where a killed process stopped, or find it done.

        `chunks(start)` gives the chunks that follow the first `start` input rows.
        """
        footer = given(footer, key)
        self._sweep(table)
        parts = Parts(self.fs, self._parts(table, shard, key), schema, rejects_schema)
        done = self._done(table, shard, key)
        for _ in range(ATTEMPTS):
            if done:
                break
            try:
                chain = parts.commit_all(chunks)
                done = (
                    self._merge(table, shard, footer, parts, chain) if chain is not None else None
                )
            except FileNotFoundError:  # another process came first and cleared the parts away
                if not self._done(table, shard, key):
                    raise
            done = done or self._done(table, shard, key)
        if not done:
            raise RuntimeError(
                f"expected the parts of {table}/{shard} to stay, but another process removed them "
                f"{ATTEMPTS} times; let only one publish this shard"
            )
        self._drop_parts(table, shard)
        return done

    def tidy(self, table: str) -> None:
        """Remove the parts of shards that are done, left by a process killed right after that."""
        for path in list_folder(self.fs, f"{self._folder(table)}/_parts"):
            name = path.rsplit("/", 1)[-1]
            shard = name.rpartition("-")[0]
            key = self.key(table, shard)
            if key and self._parts(table, shard, key).endswith(f"/{name}"):
                self._drop_parts(table, shard)

    def write(
        self,
        table: str,
        shard: str,
        batches: Iterable[pa.RecordBatch],
        *,
        schema: pa.Schema,
        key: str,
        footer: Mapping[str, str],
    ) -> Published:
        """A small table in one go, unless it is there under the same key. It has no rejects."""
        footer = given(footer, key)
        self._sweep(table)
        if done := self._done(table, shard, key):
            return done
        started = time.monotonic()
        with writing(self.fs, self._path(table, shard), schema) as writer:
            for batch in batches:
                writer.write(batch)
            elapsed_s = time.monotonic() - started
            writer.close(told(footer, table, shard, writer.num_rows, {}, elapsed_s))
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._path(table, shard, "_rejects/"))
        return self.summary(table, shard, reused=False)

    def _merge(
        self,
        table: str,
        shard: str,
        footer: dict[str, str],
        parts: Parts,
        chain: list[Part],
    ) -> Published:
        """Rejects first: the shard is done from the moment its rows bear their name."""
        elapsed_s = sum(part.elapsed_s for part in chain)
        counts: Counter[str] = Counter()
        path = self._path(table, shard, "_rejects/")
        with writing(self.fs, path, parts.rejects_schema) as writer:
            for batch in parts.rejects(chain):
                counts.update(batch.column("status").to_pylist())
                writer.write(batch)
            text = told(footer, table, shard, num_inputs(chain), counts, elapsed_s)
            writer.close(text)
        self._merge_rows(table, shard, text, parts, chain)
        return self.summary(table, shard, reused=False)

    def _merge_rows(
        self, table: str, shard: str, text: Mapping[str, str], parts: Parts, chain: list[Part]
    ) -> None:
        """The table's own file, after the one that lies aside where there is such a column."""
        aside = asides.aside_schema(parts.schema)
        path = self._path(table, shard, asides.FOLDER)
        if aside is None:
            with contextlib.suppress(FileNotFoundError):
                self.fs.rm_file(path)
        else:
            with writing(self.fs, path, aside, asides.ROW_GROUP_ROWS) as writer:
                for batch in parts.rows(chain):
                    writer.write(batch.select(aside.names))
                writer.close(text)
        main = asides.main_schema(parts.schema)
        with writing(self.fs, self._path(table, shard), main) as writer:
            for batch in parts.rows(chain):
                writer.write(batch.select(main.names))
            writer.close(text)

    def _done(self, table: str, shard: str, key: str) -> Published | None:
        return self.summary(table, shard) if self.key(table, shard) == key else None

    def _sweep(self, table: str) -> None:
        folder = self._folder(table)
        beside = (f"{folder}/_rejects", f"{folder}/{asides.FOLDER[:-1]}")
        for path in (folder, *beside, *list_folder(self.fs, f"{folder}/_parts")):
            sweep(self.fs, path)

    def _drop_parts(self, table: str, shard: str) -> None:
        """The parts of this shard under any key."""
        for path in list_folder(self.fs, f"{self._folder(table)}/_parts"):
            if path.rsplit("/", 1)[-1].rpartition("-")[0] == shard:
                with contextlib.suppress(OSError):  # in use again: the next publish removes it
                    self.fs.rm(path, recursive=True)

    # Names

    def _folder(self, table: str) -> str:
        return "/".join([self.base, *(check_name(part, "table") for part in table.split("/"))])

    def _path(self, table: str, shard: str, aside: str = "") -> str:
        return f"{self._folder(table)}/{aside}{check_name(shard, 'shard')}.parquet"

    def _parts(self, table: str, shard: str, key: str) -> str:
        owner = f"{check_name(shard, 'shard')}-{key[:16].replace('-', '_')}"
        return f"{self._folder(table)}/_parts/{owner}"

    def _absent(self, table: str, shard: str) -> FileNotFoundError:
        return FileNotFoundError(
            f"expected table {table!r} to have shard {shard!r} in {self.base}, "
            f"got {self.shards(table)[:5]}; materialise {table!r} first"
        )


class Tables(dg.ConfigurableResource):
    """Tables of every recipe, on a local disk or an object store."""

    root: str = Field(
        default="store",
        description="Folder or fsspec URL of the store: ./store, /data/store, s3://bucket/store.",
    )
    storage_options: dict[str, Any] = Field(
        default={},
        description="Passed on to fsspec, e.g. endpoint_url; leave credentials to the environment.",
    )

    def store(self, recipe: str) -> Store:
        """The tables of one recipe."""
        return Store(self.root, recipe, **self.storage_options)


def _is_table_file(name: str) -> bool:
    return name.endswith(".parquet") and name[0] not in "._"
