"""A stage applies a verb to a stream of rows, one chunk at a time, and never drops a row.

A verb takes a batch of input rows and returns a `Chunk`: its output rows, and for every input
without output a reject with a status and a reason. Chunk boundaries depend only on the input, so a
stage that was killed resumes after its last committed chunk and produces the same table.

Rows are read ahead. A verb in three steps is pipelined: while one chunk is computed, the next is
prepared and the previous one is finished, each in its own thread.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pyarrow as pa

from invertory.ops.ahead import ahead
from invertory.ops.schemas import REJECTS, STATUSES

MAX_ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class Chunk:
    """The output for `num_inputs` consecutive input rows."""

    num_inputs: int
    rows: pa.RecordBatch
    rejects: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class PendingChunk:
    """A chunk that a thread is still finishing; reading its rows or rejects waits for them."""

    num_inputs: int
    future: "Future[Chunk]"

    @property
    def rows(self) -> pa.RecordBatch:
        return self.future.result().rows

    @property
    def rejects(self) -> pa.RecordBatch:
        return self.future.result().rejects


Verb = Callable[[pa.RecordBatch], Chunk]


@runtime_checkable
class Staged(Protocol):
    """A verb in three steps, `finish(compute(prepare(batch)))`; only `compute` needs the device.

    `prepare` and `finish` run concurrently with `compute` of other chunks, and must not depend on
    them.
    """

    def __call__(self, batch: pa.RecordBatch, /) -> Chunk: ...
    def prepare(self, batch: pa.RecordBatch, /) -> Any: ...
    def compute(self, prepared: Any, /) -> Any: ...
    def finish(self, computed: Any, /) -> Chunk: ...


def reject(row_id: str, status: str, error: object, uri: str | None = None) -> dict[str, Any]:
    """Build a row of REJECTS. `status` is one of STATUSES; `error` is cut to 500 characters."""
    if status not in STATUSES:
        raise ValueError(f"expected a status among {sorted(STATUSES)}, got {status!r}")
    text = str(error).encode("utf-8", "backslashreplace").decode()[:MAX_ERROR_CHARS]
    return {"row_id": row_id, "uri": uri, "status": status, "error": text, "attempts": 1}


def chunk(
    num_inputs: int,
    rows: Sequence[dict[str, Any]],
    rejects: Sequence[dict[str, Any]],
    schema: pa.Schema,
) -> Chunk:
    """Build a `Chunk` from dictionaries; a row that does not match `schema` raises an error."""
    return Chunk(
        num_inputs,
        pa.RecordBatch.from_pylist(list(rows), schema=schema),
        pa.RecordBatch.from_pylist(list(rejects), schema=REJECTS),
    )


def rechunk(
    batches: Iterable[pa.RecordBatch], num_rows: int, start: int = 0
) -> Iterator[pa.RecordBatch]:
    """Yield the rows from `start` on in batches of exactly `num_rows` (the last may be shorter)."""
    held: list[pa.RecordBatch] = []
    count, skip = 0, start
    for batch in batches:
        dropped = min(skip, batch.num_rows)
        skip -= dropped
        batch = batch.slice(dropped)
        while batch.num_rows:
            taken = batch.slice(0, num_rows - count)
            held.append(taken)
            count += taken.num_rows
            batch = batch.slice(taken.num_rows)
            if count == num_rows:
                yield _join(held)
                held, count = [], 0
    if held:
        yield _join(held)


def run(
    verb: Verb,
    batches: Iterable[pa.RecordBatch],
    *,
    commit_rows: int,
    start: int = 0,
    progress: Callable[[Chunk], None] = lambda _: None,
) -> Iterator[Chunk | PendingChunk]:
    """Apply `verb` to the stream, skipping the first `start` input rows (already committed).

    `progress` is called with every chunk, in order, as soon as it is complete, possibly from
    another thread.
    """

    def check_and_report(batch: pa.RecordBatch, done: Chunk) -> Chunk:
        if done.num_inputs != batch.num_rows:
            raise ValueError(
                f"expected {verb!r} to account for {batch.num_rows} input rows, got "
                f"{done.num_inputs}; return rows or a reject for every input"
            )
        progress(done)
        return done

    rechunked = rechunk(batches, commit_rows, start)
    if isinstance(verb, Staged):
        yield from _run_pipelined(verb, rechunked, check_and_report)
        return
    with closing(ahead(rechunked)) as ready:
        for batch in ready:
            yield check_and_report(batch, verb(batch))


def _run_pipelined(
    verb: Staged,
    batches: Iterable[pa.RecordBatch],
    check_and_report: Callable[[pa.RecordBatch, Chunk], Chunk],
) -> Iterator[PendingChunk]:
    """Prepare one chunk, compute one (in this thread) and finish one at the same time."""
    prepared = ((batch, verb.prepare(batch)) for batch in batches)
    with ThreadPoolExecutor(1, "finish") as pool, closing(ahead(prepared)) as ready:
        previous: Future[Chunk] | None = None
        for batch, inputs in ready:
            computed = verb.compute(inputs)
            if previous is not None:
                previous.result()  # raises its error: no chunk follows a failed one
            previous = pool.submit(
                lambda b, c: check_and_report(b, verb.finish(c)), batch, computed
            )
            yield PendingChunk(batch.num_rows, previous)
        if previous is not None:
            previous.result()


def _join(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]
