"""A stage accounts for every input row, in batches of any size."""

import threading

import pyarrow as pa
import pytest

from invertory.ops.schemas import REJECTS, STATUSES
from invertory.ops.streams import Chunk, chunk, rechunk, reject, run

NUMBERS = pa.schema([pa.field("n", pa.int64(), nullable=False)])


def batches(*sizes: int) -> list[pa.RecordBatch]:
    ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
    pairs = zip(sizes, ends, strict=True)
    return [
        pa.record_batch([pa.array(range(e - s, e), pa.int64())], schema=NUMBERS) for s, e in pairs
    ]


def evens(batch: pa.RecordBatch) -> Chunk:
    values = batch.column("n").to_pylist()
    rows = [{"n": v} for v in values if v % 2 == 0]
    rejects = [reject(str(v), "failed", "odd") for v in values if v % 2]
    return chunk(len(values), rows, rejects, NUMBERS)


def test_rechunk_gives_equal_sizes_for_any_batches():
    sizes = [b.num_rows for b in rechunk(batches(5, 1, 0, 9), 4)]
    assert sizes == [4, 4, 4, 3]


def test_rechunk_starts_at_a_row_in_the_middle_of_a_batch():
    values = [v for b in rechunk(batches(5, 6), 4, start=7) for v in b.column("n").to_pylist()]
    assert values == [7, 8, 9, 10]


def test_every_input_is_a_row_or_a_reject():
    done = list(run(evens, batches(7, 6), commit_rows=4))
    assert sum(c.num_inputs for c in done) == 13
    assert sum(c.rows.num_rows + c.rejects.num_rows for c in done) == 13


def test_a_restarted_stage_resumes_with_the_same_chunks():
    whole = list(run(evens, batches(7, 6), commit_rows=4))
    rest = list(run(evens, batches(13), commit_rows=4, start=8))
    assert [c.rows for c in rest] == [c.rows for c in whole[2:]]


def test_a_verb_that_drops_a_row_is_an_error():
    def forgetful(batch: pa.RecordBatch) -> Chunk:
        return chunk(batch.num_rows - 1, [], [], NUMBERS)

    with pytest.raises(ValueError, match="account for 3 input rows, got 2"):
        list(run(forgetful, batches(3), commit_rows=3))


def test_a_reject_has_a_known_status_and_a_short_reason():
    row = reject("id", "failed", "x" * 2000)
    assert row["status"] in STATUSES and len(row["error"]) == 500
    assert pa.RecordBatch.from_pylist([row], schema=REJECTS).num_rows == 1
    with pytest.raises(ValueError, match="got 'odd'"):
        reject("id", "odd", "")


def test_a_reason_that_is_not_utf8_is_escaped():
    assert reject("id", "failed", OSError("bad\udcff"))["error"] == "bad\\udcff"


class Doubled:
    """A verb in three steps that records the chunk and the thread of each step."""

    def __init__(self, broken_at: int = -1) -> None:
        self.steps: list[tuple[str, int]] = []
        self.threads: dict[str, set[threading.Thread]] = {}
        self.broken_at = broken_at

    def __call__(self, batch: pa.RecordBatch) -> Chunk:
        return self.finish(self.compute(self.prepare(batch)))

    def prepare(self, batch: pa.RecordBatch) -> list[int]:
        return self.note("prepare", batch.column("n").to_pylist())

    def compute(self, values: list[int]) -> list[int]:
        return [2 * value for value in self.note("compute", values)]

    def finish(self, values: list[int]) -> Chunk:
        if self.note("finish", values)[0] == self.broken_at:
            raise ValueError("cannot be finished")
        return chunk(len(values), [{"n": value} for value in values], [], NUMBERS)

    def note(self, step: str, values: list[int]) -> list[int]:
        self.steps.append((step, values[0]))
        self.threads.setdefault(step, set()).add(threading.current_thread())
        return values


def test_a_pipelined_verb_gives_the_same_rows():
    verb, told = Doubled(), []
    done = list(run(verb, batches(7, 6), commit_rows=4, progress=told.append))
    assert [c.rows for c in done] == [Doubled()(b).rows for b in rechunk(batches(13), 4)]
    assert [c.num_inputs for c in done] == [c.num_inputs for c in told] == [4, 4, 4, 1]
    assert [c.rejects.num_rows for c in done] == [0, 0, 0, 0]


def test_only_compute_runs_in_the_callers_thread():
    verb = Doubled()
    list(run(verb, batches(12), commit_rows=4))
    here = threading.current_thread()
    assert verb.threads["compute"] == {here}
    assert here not in verb.threads["prepare"] | verb.threads["finish"]


def test_a_chunk_is_finished_without_requesting_the_next():
    verb = Doubled()
    done = run(verb, batches(12), commit_rows=4)
    assert next(done).rows.column("n").to_pylist() == [0, 2, 4, 6]
    done.close()
    assert ("compute", 4) not in verb.steps


def test_no_chunk_follows_a_failed_one():
    taken = []
    with pytest.raises(ValueError, match="cannot be finished"):
        taken.extend(run(Doubled(broken_at=8), batches(12), commit_rows=4))
    with pytest.raises(ValueError, match="cannot be finished"):
        list(run(Doubled(broken_at=16), batches(12), commit_rows=4))  # the last


def test_a_pipelined_verb_that_drops_a_row_is_an_error():
    verb = Doubled()
    verb.finish = lambda values: chunk(1, [], [], NUMBERS)
    with pytest.raises(ValueError, match="account for 3 input rows, got 1"):
        list(run(verb, batches(3), commit_rows=3))
