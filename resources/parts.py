"""The chunks of a shard that is not finished: committed one by one, merged at the end.

A part is named by the input rows it accounts for, `<first row>-<number of rows>`, so that two
processes at the same shard, even with different chunk sizes, cannot mix their halves.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import fsspec
import pyarrow as pa

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
class Part:
    """Input rows [start, start + num_inputs) of a shard; `elapsed_s` is what they cost."""

    start: int
    num_inputs: int
    num_rejects: int = 0
    elapsed_s: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.start:09d}-{self.num_inputs:06d}"


class Parts:
    """The parts of one shard under one key, in a folder of their own."""

    def __init__(
        self,
        fs: fsspec.AbstractFileSystem,
        folder: str,
        schema: pa.Schema,
        rejects_schema: pa.Schema,
    ) -> None:
        self._fs, self._folder = fs, folder
        self.schema, self.rejects_schema = schema, rejects_schema

    def committed(self) -> list[Part]:
        """The parts that follow each other from input row 0 on without a gap."""
        found: dict[int, list[Part]] = {}
        for part in self._list():
            found.setdefault(part.start, []).append(part)
        chain: list[Part] = []
        while following := self._readable(found.get(num_inputs(chain), [])):
            chain.append(following)
        return chain

    def commit_all(self, chunks: Callable[[int], Iterable[ChunkLike]]) -> list[Part] | None:
        """All parts of the shard, the missing made; None where somebody removed some meanwhile.

        One chunk is written while the next is made; they are committed in order.
        """
        start = num_inputs(self.committed())
        began = time.monotonic()
        with ThreadPoolExecutor(1, "commit") as pool, _closing(chunks(start)) as made:
            before: Future[Part] | None = None
            for chunk in made:
                if before is not None:
                    before.result()
                elapsed_s, began = time.monotonic() - began, time.monotonic()
                before = pool.submit(self.commit, start, chunk, elapsed_s)
                start += chunk.num_inputs
            if before is not None:
                before.result()
        chain = self.committed()
        return chain if num_inputs(chain) == start else None

    def commit(self, start: int, chunk: ChunkLike, elapsed_s: float) -> Part:
        """Rejects first, if any: the chunk counts from the moment its rows bear their name."""
        if chunk.num_inputs < 1:
            raise ValueError(
                f"expected a chunk of 1 or more input rows, got {chunk.num_inputs}; "
                "a table without inputs goes through Store.write"
            )
        check_rows(chunk.rows, self.schema)
        part = Part(start, chunk.num_inputs, chunk.rejects.num_rows, elapsed_s)
        footer = {
            "num_inputs": str(part.num_inputs),
            "num_rejects": str(part.num_rejects),
            "elapsed_s": f"{elapsed_s:.3f}",
        }
        path = f"{self._folder}/{part.name}"
        if part.num_rejects:  # mostly none, and a file costs two waits for the disk
            write_file(self._fs, path + REJECTS, [chunk.rejects], self.rejects_schema, footer)
        write_file(self._fs, path + ROWS, [chunk.rows], self.schema, footer)
        return part

    def rows(self, parts: list[Part]) -> Iterator[pa.RecordBatch]:
        """The rows of `parts`, in order."""
        return self._read(parts, ROWS)

    def rejects(self, parts: list[Part]) -> Iterator[pa.RecordBatch]:
        """The rejects of `parts`, in order."""
        return self._read([part for part in parts if part.num_rejects], REJECTS)

    def drop(self, path: str) -> bool:
        """Remove one of these parts that turned out corrupt; False where `path` is none of them."""
        if path.rpartition("/")[0] != self._folder:
            return False
        with contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(path)
        return True

    def _read(self, parts: list[Part], ending: str) -> Iterator[pa.RecordBatch]:
        for part in parts:
            path = f"{self._folder}/{part.name}{ending}"
            yield from read_file(self._fs, path, None, ROW_GROUP_ROWS)

    def _list(self) -> list[Part]:
        parts = []
        for path in list_folder(self._fs, self._folder):
            name = path.rsplit("/", 1)[-1]
            if name.endswith(ROWS) and not name.endswith(REJECTS) and name[0] != ".":
                start, _, count = name.removesuffix(ROWS).partition("-")
                parts.append(Part(int(start), int(count)))
        return sorted(parts)

    def _readable(self, candidates: list[Part]) -> Part | None:
        """The longest of `candidates` whose files are whole."""
        for part in sorted(candidates, reverse=True):
            path = f"{self._folder}/{part.name}"
            rows = read_metadata(self._fs, path + ROWS)
            if rows is None:
                continue
            footer = read_footer(rows)
            num_rejects = int(footer["num_rejects"])
            if not num_rejects or read_metadata(self._fs, path + REJECTS) is not None:
                return Part(part.start, part.num_inputs, num_rejects, float(footer["elapsed_s"]))
        return None


@contextlib.contextmanager
def _closing(chunks: Iterable[ChunkLike]) -> Iterator[Iterable[ChunkLike]]:
    """What makes the chunks, let go of also where they are not all taken."""
    try:
        yield chunks
    finally:
        if isinstance(chunks, Generator):
            chunks.close()


def num_inputs(parts: list[Part]) -> int:
    """Input rows that `parts` account for."""
    return sum(part.num_inputs for part in parts)


def list_folder(fs: fsspec.AbstractFileSystem, folder: str) -> list[str]:
    """Paths in `folder`, sorted, as they are now and not as a cache remembers them."""
    fs.invalidate_cache()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return sorted(fs.ls(folder, detail=False))
    return []
