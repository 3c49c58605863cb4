"""The store: one Parquet file per table and shard, on any fsspec root.

`<root>/<recipe>/<table>/<shard>.parquet`; what failed lies in `<table>/_rejects/<shard>.parquet`,
the states of inversions in `<table>/_state/` (see `asides`), the chunks of an unfinished shard in
`<table>/_parts/`. A shard is done when the footer of its file verifies and bears the wanted key,
and so do the files that the footer names (see `siblings`). All that a kill can cost is the chunk
that was being made and the one that was being written.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pyarrow as pa
from pydantic import Field

from invertory.resources import asides, provisional, siblings
from invertory.resources.addresses import Address, expanded
from invertory.resources.atomic import is_local, sweep
from invertory.resources.footers import Published, check_name, given, told
from invertory.resources.lock_folders import store_lock
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
from invertory.resources.seals import CorruptFileError
from invertory.resources.sets import Fault, SetVersions
from invertory.resources.shard_lock import SUFFIX, alone, drop_abandoned

EXPORTS = "exports"  # tables that index a set
SETS = "sets"  # folder of the exported sets, beside those of the tables
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
        path = self._path(table, shard, siblings.REJECTS)
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
        return sorted(self._tables_in(""))

    def _tables_in(self, table: str) -> Iterator[str]:
        """`table` where it holds a shard, and those below it; exported sets are no tables."""
        folder = f"{self.base}/{table}".rstrip("/")
        has_shards = False
        with contextlib.suppress(FileNotFoundError):
            for found in self.fs.ls(folder, detail=True):
                name = found["name"].rstrip("/").rsplit("/", 1)[-1]
                if found["type"] == "directory":
                    if name[0] not in "._" and (table or name != SETS):
                        yield from self._tables_in(f"{table}/{name}".lstrip("/"))
                else:
                    has_shards = has_shards or _is_table_file(name)
        if table and has_shards:
            yield table

    def footer(self, table: str, shard: str) -> dict[str, str] | None:
        """What the file says of itself; None where there is no whole file."""
        metadata = read_metadata(self.fs, self._path(table, shard))
        return None if metadata is None else read_footer(metadata)

    def key(self, table: str, shard: str) -> str | None:
        """The key it was published under; None where it is not done, or a file of it is lost."""
        footer = self.footer(table, shard)
        if footer is None or self.faults(table, shard, footer):
            return None
        return footer.get("key")

    def siblings(self, table: str, shard: str) -> list[str]:
        """Paths of the files that lie beside the shard's own."""
        paths = [self._path(table, shard, folder) for folder in siblings.FOLDERS]
        return [path for path in paths if self.fs.exists(path)]

    def path(self, table: str, shard: str) -> str:
        """Where the file of a shard lies in `fs`."""
        return self._path(table, shard)

    def faults(self, table: str, shard: str, footer: Mapping[str, str]) -> list[str]:
        """Files that belong to the shard's own and are lost, cut or those of other rows."""
        of_set = (path for path, _ in self.set_faults(table, shard, footer))
        return [*self.sibling_faults(table, shard, footer), *of_set]

    def sibling_faults(self, table: str, shard: str, footer: Mapping[str, str]) -> list[str]:
        """Those of them that lie beside it."""
        return list(siblings.faults(self.fs, footer, lambda f: self._path(table, shard, f)))

    def set_faults(
        self, table: str, shard: str, footer: Mapping[str, str], *, is_thorough: bool = False
    ) -> Iterator[Fault]:
        """What is wrong with the exported set that a table of `exports/` is the index of."""
        name, _, method = table.partition("/")
        formats = json.loads(footer.get("config", "{}")).get("export", {}).get("formats", ())
        if name == EXPORTS and formats:
            yield from self.sets(method).faults(
                footer["key"], formats, self.num_rows(table, shard), is_thorough=is_thorough
            )

    def sets(self, method: str) -> SetVersions:
        """The exported sets of a method."""
        return SetVersions(self.fs, f"{self.base}/{SETS}/{check_name(method, 'method')}")

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

    def lock_path(self, table: str, name: str) -> Path:
        """The file to lock for `name`: in the table's folder, or this user's for a URL."""
        if not is_local(self.fs):
            return store_lock(self.uri(table, name))
        folder = Path(self._folder(table))
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f".{check_name(name, 'lock')}.lock"

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
        retry: Set[str] = frozenset(),
    ) -> Published:
        """Make the shard, or go on where a killed process stopped, or find it done.

        `chunks(start)` gives the chunks that follow the first `start` input rows. Where a row or
        a reject has a status in `retry`, the key becomes a provisional one (see `provisional`).
        """
        footer = given(footer, key)
        with alone(self.fs, self._lock(table, shard)):
            self._sweep(table)
            before = self.footer(table, shard)
            mark = provisional.attempt_mark(before, key)
            parts = Parts(self.fs, self._parts(table, shard, key) + mark, schema, rejects_schema)
            for _ in range(ATTEMPTS):
                done = self._done(table, shard, key, before) or self._made(
                    table, shard, footer, parts, chunks, retry, before
                )
                if done:
                    self._drop_parts(table, shard)
                    return done
        raise RuntimeError(
            f"expected the parts of {table}/{shard} to stay, but another process removed them "
            f"{ATTEMPTS} times; let only one publish this shard"
        )

    def _made(
        self,
        table: str,
        shard: str,
        footer: dict[str, str],
        parts: Parts,
        chunks: Callable[[int], Iterable[ChunkLike]],
        retry: Set[str],
        before: Mapping[str, str] | None,
    ) -> Published | None:
        """The shard made from its parts; None where those were lost meanwhile."""
        key = footer["key"]
        try:
            chain = parts.commit_all(chunks)
            if chain is None:
                return None
            keyed = footer | {"key": _key_of(key, parts, chain, retry)}
            made = self._merge(table, shard, keyed, parts, chain)
            return made if self.key(table, shard) == keyed["key"] else None
        except FileNotFoundError:  # another process came first and cleared the parts away
            if not self._done(table, shard, key, before):
                raise
        except CorruptFileError as error:
            if not parts.drop(error.path):
                raise
        return None

    def tidy(self, table: str) -> None:
        """Remove what a process that was killed right after it published a shard has left."""
        self._drop_locks(table)
        for path in list_folder(self.fs, f"{self._folder(table)}/_parts"):
            name = path.rsplit("/", 1)[-1]
            if name.endswith(SUFFIX):
                drop_abandoned(self.fs, path)
                continue
            shard = name.rpartition("-")[0]
            footer = self.footer(table, shard) or {}
            is_free = drop_abandoned(self.fs, self._lock(table, shard))
            if not is_free or not (key := footer.get("key")):
                continue
            owner = self._parts(table, shard, key).rpartition("/")[2]
            mark = provisional.attempt_mark(footer, provisional.wanted_part(key))
            if name.startswith(owner) and not (mark and name == owner + mark):
                self._drop_folder(path)

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
            text = told(footer, table, shard, writer.num_rows, {}, elapsed_s)
            writer.close(text | siblings.entry({}))
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self._path(table, shard, siblings.REJECTS))
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
        path = self._path(table, shard, siblings.REJECTS)
        with writing(self.fs, path, parts.rejects_schema) as writer:
            for batch in parts.rejects(chain):
                counts.update(batch.column("status").to_pylist())
                writer.write(batch)
            text = told(footer, table, shard, num_inputs(chain), counts, elapsed_s)
            writer.close(text)
        self._merge_rows(table, shard, text, parts, chain, {siblings.REJECTS: writer.content})
        return self.summary(table, shard, reused=False)

    def _merge_rows(
        self,
        table: str,
        shard: str,
        text: Mapping[str, str],
        parts: Parts,
        chain: list[Part],
        contents: dict[str, str],
    ) -> None:
        """The table's own file, after the one that lies aside where there is such a column.

        `contents`: digests of the siblings that are written already.
        """
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
            contents = contents | {asides.FOLDER: writer.content}
        main = asides.main_schema(parts.schema)
        with writing(self.fs, self._path(table, shard), main) as writer:
            for batch in parts.rows(chain):
                writer.write(batch.select(main.names))
            writer.close({**text, **siblings.entry(contents)})

    def _done(
        self, table: str, shard: str, key: str, before: Mapping[str, str] | None = None
    ) -> Published | None:
        """The whole shard under `key`, or a provisional one that was published after `before`."""
        footer = self.footer(table, shard)
        if footer is None or self.faults(table, shard, footer):
            return None
        stored = footer.get("key")
        is_newer = provisional.is_provisional_for(stored, key) and footer != (before or footer)
        return self.summary(table, shard) if stored == key or is_newer else None

    def _sweep(self, table: str) -> None:
        folder = self._folder(table)
        beside = (f"{folder}/_rejects", f"{folder}/{asides.FOLDER[:-1]}")
        for path in (folder, *beside, *list_folder(self.fs, f"{folder}/_parts")):
            sweep(self.fs, path)

    def _drop_parts(self, table: str, shard: str) -> None:
        """The parts of this shard under any key."""
        for path in list_folder(self.fs, f"{self._folder(table)}/_parts"):
            name = path.rsplit("/", 1)[-1]
            if name.rpartition("-")[0] == shard and not name.endswith(SUFFIX):
                self._drop_folder(path)

    def _drop_locks(self, table: str) -> None:
        """Those of `lock_path` that no process holds."""
        if is_local(self.fs):
            for path in Path(self._folder(table)).glob(f".*{SUFFIX}"):
                drop_abandoned(self.fs, str(path))

    def _drop_folder(self, path: str) -> None:
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

    def _lock(self, table: str, shard: str) -> str:
        return f"{self._folder(table)}/_parts/.{check_name(shard, 'shard')}{SUFFIX}"

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


def _key_of(key: str, parts: Parts, chain: list[Part], retry: Set[str]) -> str:
    """The key that the chunks of a shard earn."""
    if not retry:
        return key
    tally = provisional.Tally(retry)
    for batches in (parts.rows(chain), parts.rejects(chain)):
        for batch in batches:
            tally.add(batch)
    return tally.key(key)


def _is_table_file(name: str) -> bool:
    return name.endswith(".parquet") and name[0] not in "._"
