"""A shard on its way from chunks to its files: its rows, its rejects and its states."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass

import pyarrow as pa

from invertory.resources import provisional
from invertory.resources.footers import Accumulator, Published, complete_footer, totals_entry
from invertory.resources.parquet import writing
from invertory.resources.seals import CorruptFileError
from invertory.resources.tables import siblings, state_files
from invertory.resources.tables.chunks import ChunkFile, ChunkFiles, ChunkLike, num_inputs
from invertory.resources.tables.reading import TableReader

Compute = Callable[[int], Iterable[ChunkLike]]  # inputs that are done => chunks of the others


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One shard being published under the key in its `footer`.

    `previous` is the footer of the shard that it replaces. Where a row or a reject has a status in
    `retry`, the key becomes a provisional one (see `provisional`). The figures of `totals` go into
    the footer.
    """

    store: TableReader
    table: str
    shard: str
    footer: Mapping[str, str]
    previous: Mapping[str, str] | None
    chunk_files: ChunkFiles
    retry: Set[str] = frozenset()
    totals: Callable[[], Accumulator] | None = None

    def find(self) -> Published | None:
        """The shard if it is done under its key, or was published provisionally since."""
        stored = self.store.key(self.table, self.shard)
        footer = self.store.footer(self.table, self.shard)
        is_new = footer != (self.previous or footer)
        is_newer = is_new and provisional.is_provisional_for(stored, self.footer["key"])
        is_done = stored == self.footer["key"] or is_newer
        return self.store.summary(self.table, self.shard) if is_done else None

    def make(self, compute: Compute) -> Published | None:
        """Compute the missing chunks and merge all; None where another process removed some."""
        try:
            chunks = self.chunk_files.commit_all(compute)
            if chunks is None:
                return None
            key = self._key(chunks)
            self._merge(key, chunks)
            if self.store.key(self.table, self.shard) == key:
                return self.store.summary(self.table, self.shard, reused=False)
        except FileNotFoundError:  # another process came first and removed the chunks
            if not self.find():
                raise
        except CorruptFileError as error:
            if not self.chunk_files.drop(error.path):
                raise
        return None

    def _key(self, chunks: list[ChunkFile]) -> str:
        """The wanted key, or a provisional one where rows are to be tried again."""
        if not self.retry:
            return self.footer["key"]
        tally = provisional.Tally(self.retry)
        names = [n for n in provisional.IDENTITY if n in self.chunk_files.schema.names]
        if names:
            for batch in self.chunk_files.rows(chunks, names):
                tally.add(batch)
        for batch in self.chunk_files.rejects(chunks):
            tally.add(batch)
        return tally.key(self.footer["key"])

    def _merge(self, key: str, chunks: list[ChunkFile]) -> None:
        """Rejects, states, rows: the shard is done from the moment its rows have their name."""
        totals = None if self.totals is None else self.totals()
        counts: Counter[str] = Counter()
        path = self.store.path(self.table, self.shard, siblings.REJECTS)
        with writing(self.store.fs, path, self.chunk_files.rejects_schema) as writer:
            for batch in self.chunk_files.rejects(chunks):
                counts.update(batch.column("status").to_pylist())
                if totals is not None:
                    totals.add_rejects(batch)
                writer.write(batch)
            elapsed_s = sum(chunk.elapsed_s for chunk in chunks)
            footer = complete_footer({**self.footer, "key": key}, self.table, self.shard,
                                     num_inputs(chunks), counts, elapsed_s)  # fmt: skip
            writer.close(footer)
        digests = {siblings.REJECTS: writer.content} | self._merge_states(footer, chunks)
        self._merge_rows({**footer, **siblings.entry(digests)}, chunks, totals)

    def _merge_states(self, footer: Mapping[str, str], chunks: list[ChunkFile]) -> dict[str, str]:
        """{folder: digest} of the file of states; {} where the table has none."""
        schema = state_files.state_schema(self.chunk_files.schema)
        path = self.store.state_path(self.table, self.shard)
        if schema is None:
            with contextlib.suppress(FileNotFoundError):
                self.store.fs.rm_file(path)
            return {}
        with writing(self.store.fs, path, schema, state_files.ROW_GROUP_ROWS) as writer:
            for batch in self.chunk_files.rows(chunks, schema.names):
                writer.write(batch)
            writer.close(footer)
        return {siblings.STATES: writer.content}

    def _merge_rows(
        self, footer: Mapping[str, str], chunks: list[ChunkFile], totals: Accumulator | None
    ) -> None:
        schema = state_files.main_schema(self.chunk_files.schema)
        with writing(self.store.fs, self.store.path(self.table, self.shard), schema) as writer:
            for batch in self.chunk_files.rows(chunks, schema.names):
                if totals is not None:
                    totals.add_rows(batch)
                writer.write(batch)
            writer.close({**footer, **({} if totals is None else totals_entry(totals))})


def write_rows(
    store: TableReader,
    table: str,
    shard: str,
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    footer: Mapping[str, str],
) -> Published:
    """A small shard in one go, without rejects."""
    started = time.monotonic()
    with writing(store.fs, store.path(table, shard), schema) as writer:
        for batch in batches:
            writer.write(batch)
        elapsed_s = time.monotonic() - started
        text = complete_footer(footer, table, shard, writer.num_rows, {}, elapsed_s)
        writer.close(text | siblings.entry({}))
    with contextlib.suppress(FileNotFoundError):
        store.fs.rm_file(store.path(table, shard, siblings.REJECTS))
    return store.summary(table, shard, reused=False)
