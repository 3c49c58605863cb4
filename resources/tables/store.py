"""The tables of one recipe: read, published and tidied."""

import logging
from collections.abc import Callable, Iterable, Mapping, Set

import pyarrow as pa

from invertory.resources import provisional
from invertory.resources.footers import Accumulator, Published, check_footer
from invertory.resources.locks import Waiting, holding
from invertory.resources.tables.chunks import ChunkFiles
from invertory.resources.tables.publishing import Compute, Publication, write_rows
from invertory.resources.tables.reading import TableReader
from invertory.resources.tables.tidying import drop_chunks, sweep_table, tidy

ATTEMPTS = 5  # at a shard whose chunks another process keeps removing
logger = logging.getLogger(__name__)


class Store(TableReader):
    """The tables of one recipe. `root` is a local path or a URL that fsspec knows."""

    def publish(
        self,
        table: str,
        shard: str,
        *,
        schema: pa.Schema,
        key: str,
        footer: Mapping[str, str],
        chunks: Compute,
        rejects_schema: pa.Schema,
        retry: Set[str] = frozenset(),
        totals: Callable[[], Accumulator] | None = None,
        waiting: Waiting = logger.warning,
    ) -> Published:
        """Make the shard, or go on where a killed process stopped, or find it done.

        `chunks(start)` gives the chunks that follow the first `start` input rows. Where a row or a
        reject has a status in `retry`, the key becomes a provisional one (see `provisional`).
        `totals` gives an accumulator, whose figures go into the footer.

        One process of a host at a time publishes a shard; `waiting` receives a sentence about the
        process that holds it. Writers on other hosts make equal files, and the one that ends last
        finds the shard done.
        """
        footer = check_footer(footer, key)
        with holding(self.lock_path(table, shard), f"{table} of {shard}", waiting=waiting):
            sweep_table(self, table)
            previous = self.footer(table, shard)
            folder = self.chunk_folder(table, shard, key) + provisional.attempt_mark(previous, key)
            publication = Publication(
                store=self,
                table=table,
                shard=shard,
                footer=footer,
                previous=previous,
                chunk_files=ChunkFiles(self.fs, folder, schema, rejects_schema),
                retry=retry,
                totals=totals,
            )
            return self._published(publication, chunks)

    def _published(self, publication: Publication, chunks: Compute) -> Published:
        table, shard = publication.table, publication.shard
        for _ in range(ATTEMPTS):
            if done := publication.find() or publication.make(chunks):
                drop_chunks(self, table, shard)
                return done
        raise RuntimeError(
            f"expected the chunks of {table}/{shard} to stay, but another process removed them "
            f"{ATTEMPTS} times; let only one publish this shard"
        )

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
        footer = check_footer(footer, key)
        sweep_table(self, table)
        if self.key(table, shard) == key:
            return self.summary(table, shard)
        return write_rows(self, table, shard, batches, schema, footer)

    def tidy(self, table: str) -> None:
        """Remove what killed processes left: chunks of shards that are done, and locks."""
        tidy(self, table)
