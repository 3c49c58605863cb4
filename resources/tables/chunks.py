"""The chunks of an unfinished shard: committed one by one, merged at the end.

The file of a chunk is named by its input rows, `<first row>-<number of rows>`, so that two
processes at the same shard, even with different chunk sizes, cannot mix their chunks.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import fsspec
import pyarrow as pa

from invertory.resources.filesystems import list_folder
from invertory.resources.parquet import (
    ROW_GROUP_ROWS,
    check_rows,
    read_file,
    read_footer,
    read_metadata,
    write_file,
)

ROWS, REJECTS = ".parquet", ".rejects.parquet"


class ChunkLike(Protocol):
    """What became of `num_inputs` consecutive input rows (invertory.ops.streams.Chunk)."""

    @property
    def num_inputs(self) -> int: ...
    @property
    def rows(self) -> pa.RecordBatch: ...
    @property
    def rejects(self) -> pa.RecordBatch: ...


@dataclass(frozen=True, slots=True, order=True)
class ChunkFile:
    """A committed chunk: input rows [start, start + num_inputs), computed in `elapsed_s`."""

    start: int
    num_inputs: int
    num_rejects: int = 0
    elapsed_s: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.start:09d}-{self.num_inputs:06d}"


class ChunkFiles:
    """The committed chunks of one shard under one key, in a folder of their own."""

    def __init__(
        self,
        fs: fsspec.AbstractFileSystem,
        folder: str,
        schema: pa.Schema,
        rejects_schema: pa.Schema,
    ) -> None:
        self._fs, self._folder = fs, folder
        self.schema, self.rejects_schema = schema, rejects_schema

    def committed(self) -> list[ChunkFile]:
        """The chunks that follow each other from input row 0 on without a gap."""
        found: dict[int, list[ChunkFile]] = {}
        for chunk in self._list():
            found.setdefault(chunk.start, []).append(chunk)
        chunks: list[ChunkFile] = []
        while following := self._longest_whole(found.get(num_inputs(chunks), [])):
            chunks.append(following)
        return chunks

    def commit_all(self, compute: Callable[[int], Iterable[ChunkLike]]) -> list[ChunkFile] | None:
        """All chunks, the missing ones computed; None where another process removed some.

        One chunk is written while the next is computed; they are committed in order.
        """
        start = num_inputs(self.committed())
        began = time.monotonic()
        with ThreadPoolExecutor(1, "commit") as pool, _closing(compute(start)) as computed:
            before: Future[ChunkFile] | None = None
            for chunk in computed:
                if before is not None:
                    before.result()
                elapsed_s, began = time.monotonic() - began, time.monotonic()
                before = pool.submit(self.commit, start, chunk, elapsed_s)
                start += chunk.num_inputs
            if before is not None:
                before.result()
        chunks = self.committed()
        return chunks if num_inputs(chunks) == start else None

    def commit(self, start: int, chunk: ChunkLike, elapsed_s: float) -> ChunkFile:
        """Write rejects, if any, then rows: the chunk counts once its rows have their name."""
        if chunk.num_inputs < 1:
            raise ValueError(
                f"expected a chunk of 1 or more input rows, got {chunk.num_inputs}; "
                "a table without inputs goes through Store.write"
            )
        check_rows(chunk.rows, self.schema)
        file = ChunkFile(start, chunk.num_inputs, chunk.rejects.num_rows, elapsed_s)
        footer = {
            "num_inputs": str(file.num_inputs),
            "num_rejects": str(file.num_rejects),
            "elapsed_s": f"{elapsed_s:.3f}",
        }
        path = f"{self._folder}/{file.name}"
        if file.num_rejects:  # mostly none, and a file costs two waits for the disk
            write_file(self._fs, path + REJECTS, [chunk.rejects], self.rejects_schema, footer)
        write_file(self._fs, path + ROWS, [chunk.rows], self.schema, footer)
        return file

    def rows(
        self, chunks: list[ChunkFile], columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The rows of `chunks`, in order."""
        return self._read(chunks, ROWS, columns)

    def rejects(self, chunks: list[ChunkFile]) -> Iterator[pa.RecordBatch]:
        """The rejects of `chunks`, in order."""
        return self._read([chunk for chunk in chunks if chunk.num_rejects], REJECTS, None)

    def drop(self, path: str) -> bool:
        """Remove a file that turned out corrupt; False where it is none of these chunks."""
        if path.rpartition("/")[0] != self._folder:
            return False
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(path)
        return True

    def _read(
        self, chunks: list[ChunkFile], ending: str, columns: Sequence[str] | None
    ) -> Iterator[pa.RecordBatch]:
        for chunk in chunks:
            path = f"{self._folder}/{chunk.name}{ending}"
            yield from read_file(self._fs, path, columns, ROW_GROUP_ROWS)

    def _list(self) -> list[ChunkFile]:
        chunks = []
        for path in list_folder(self._fs, self._folder):
            name = path.rsplit("/", 1)[-1]
            if name.endswith(ROWS) and not name.endswith(REJECTS) and name[0] != ".":
                start, _, count = name.removesuffix(ROWS).partition("-")
                chunks.append(ChunkFile(int(start), int(count)))
        return sorted(chunks)

    def _longest_whole(self, candidates: list[ChunkFile]) -> ChunkFile | None:
        """The longest of `candidates` whose files are whole."""
        for chunk in sorted(candidates, reverse=True):
            path = f"{self._folder}/{chunk.name}"
            rows = read_metadata(self._fs, path + ROWS)
            if rows is None:
                continue
            footer = read_footer(rows)
            num_rejects = int(footer["num_rejects"])
            if not num_rejects or read_metadata(self._fs, path + REJECTS) is not None:
                elapsed_s = float(footer["elapsed_s"])
                return ChunkFile(chunk.start, chunk.num_inputs, num_rejects, elapsed_s)
        return None


@contextlib.contextmanager
def _closing(chunks: Iterable[ChunkLike]) -> Iterator[Iterable[ChunkLike]]:
    """Close the generator of the chunks, also where not all of them are taken."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, Generator):
            chunks.close()


def num_inputs(chunks: Iterable[ChunkFile]) -> int:
    """Input rows that `chunks` account for."""
    return sum(chunk.num_inputs for chunk in chunks)
