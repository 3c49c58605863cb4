"""The store keeps what it was given, whole, on every filesystem."""

import contextlib
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ops import schemas
from ops.streams import Chunk, reject
from resources.parts import Part, Parts
from resources.tables import Published, Store, Tables

ROWS, W = 3, 4
SCHEMA = schemas.latents(ROWS, W, ["mse"], "pixels")
KEY = "0123456789abcdef" * 4


def rows(start: int, count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([row(i) for i in range(start, start + count)], schema=SCHEMA)


def row(i: int) -> dict[str, object]:
    latent = np.random.default_rng(i).standard_normal((ROWS, W)).astype(np.float32)
    numbers = {name: float(i) for name in ("loss", "mse", "psnr_db", "ssim", "perceptual_pixels")}
    counts = {"steps": i, "best_step": i, "seed": i}
    synth = {"bytes": bytes([i % 256]) * 10, "path": f"{i}.png"}
    names = {"crop_id": f"{i}:0", "image_id": str(i)}
    return {
        **names,
        "latent": latent.tolist(),
        **counts,
        **numbers,
        "synth": synth,
        "loss_mse": 0.0,
    }


def chunk(start: int, count: int) -> Chunk:
    """Every tenth input fails."""
    failed = [i for i in range(start, start + count) if i % 10 == 3]
    kept = [i for i in range(start, start + count) if i % 10 != 3]
    made = pa.RecordBatch.from_pylist([row(i) for i in kept], schema=SCHEMA)
    lost = [reject(str(i), "failed", f"input {i}") for i in failed]
    return Chunk(count, made, pa.RecordBatch.from_pylist(lost, schema=schemas.REJECTS))


def chunks(total: int, size: int, pause_s: float = 0.0) -> Callable[[int], Iterator[Chunk]]:
    def after(start: int) -> Iterator[Chunk]:
        for first in range(start, total, size):
            time.sleep(pause_s)
            yield chunk(first, min(size, total - first))

    return after


def publish(store: Store, after: Callable[[int], Iterator[Chunk]], key: str = KEY) -> Published:
    return store.publish(
        "latents/toy", "shard-000001", schema=SCHEMA, key=key, footer={"space": "w_plus"},
        chunks=after, rejects_schema=schemas.REJECTS,
    )  # fmt: skip


def everything(store: Store) -> tuple[list[dict], list[dict]]:
    made = store.table("latents/toy", "shard-000001").to_pylist()
    return made, store.rejects("latents/toy", "shard-000001").to_pylist()


def files(store: Store) -> list[str]:
    store.fs.invalidate_cache()
    return sorted(path.rsplit("latents/toy/", 1)[-1] for path in store.fs.find(store.base))


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    name = uuid.uuid4().hex
    if request.param == "local":
        return Tables(root=str(tmp_path)).store("faces")
    if request.param == "memory":
        return Tables(root=f"memory://{name}").store("faces")
    options = request.getfixturevalue("bucket")
    return Tables(root=f"s3://bucket/{name}", storage_options=options).store("faces")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "faces")


def test_published_rows_and_rejects_come_back(store: Store) -> None:
    done = publish(store, chunks(45, 10))
    expected = [chunk(i, 10 if i < 40 else 5) for i in range(0, 45, 10)]
    made, lost = everything(store)
    assert made == [line for part in expected for line in part.rows.to_pylist()]
    assert lost == [line for part in expected for line in part.rejects.to_pylist()]
    assert (done.num_rows, done.rejects, done.reused) == (40, {"failed": 5}, False)
    assert done.size_bytes == store.fs.size(store.fs._strip_protocol(done.uri))
    assert files(store) == ["_rejects/shard-000001.parquet", "shard-000001.parquet"]


def test_footer_tells_key_counts_and_what_was_passed(store: Store) -> None:
    publish(store, chunks(20, 10))
    footer = store.footer("latents/toy", "shard-000001") or {}
    assert footer["key"] == store.key("latents/toy", "shard-000001") == KEY
    assert (footer["table"], footer["shard"]) == ("latents/toy", "shard-000001")
    assert (footer["num_inputs"], json.loads(footer["rejects"])) == ("20", {"failed": 2})
    assert footer["space"] == "w_plus"
    assert float(footer["elapsed_s"]) >= 0
    assert store.num_rows("latents/toy", "shard-000001") == 18


def test_same_key_makes_nothing(store: Store) -> None:
    first = publish(store, chunks(20, 10))
    second = publish(store, lambda start: pytest.fail("made again"))
    assert second.reused
    assert (second.key, second.num_rows, second.uri) == (first.key, first.num_rows, first.uri)


def test_other_key_replaces(store: Store) -> None:
    publish(store, chunks(20, 10))
    assert not publish(store, chunks(10, 10), key="f" * 64).reused
    assert store.num_rows("latents/toy", "shard-000001") == 9
    assert store.rejects("latents/toy", "shard-000001").num_rows == 1


def test_a_stage_that_fails_publishes_nothing_and_goes_on_later(store: Store) -> None:
    def fail_after(start: int) -> Iterator[Chunk]:
        yield from list(chunks(45, 10)(start))[:2]
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        publish(store, fail_after)
    assert store.key("latents/toy", "shard-000001") is None
    assert store.shards("latents/toy") == store.tables() == []
    starts: list[int] = []
    publish(store, lambda start: starts.append(start) or chunks(45, 10)(start))
    assert starts == [20]
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    publish(straight, chunks(45, 10))
    assert everything(store) == everything(straight)


def test_batches_that_fail_midway_publish_nothing(store: Store) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield rows(0, 300)
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        store.write("samples", "all", batches(), schema=SCHEMA, key=KEY, footer={})
    assert files(store) == []


@pytest.mark.parametrize("store", ["memory", "s3"], indirect=True)
def test_a_put_that_fails_publishes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store.fs, "put_file", refuse)
        patch.setattr(store.fs, "pipe_file", refuse)
        with pytest.raises(OSError, match="No space"):
            publish(store, chunks(45, 10))
    assert files(store) == []
    assert publish(store, chunks(45, 10)).num_rows == 40


def test_no_temporary_file_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    publish(store, chunks(45, 10))
    assert not list(tmp_path.rglob("*.tmp"))


def test_rows_of_another_schema_are_refused_with_both_sides(store: Store) -> None:
    batch = pa.RecordBatch.from_pydict({"crop_id": ["a"], "score": [1.0]})
    with pytest.raises(ValueError, match=r"(?s)expected: crop_id: string not null.*score: double"):
        store.write("attributes", "all", [batch], schema=SCHEMA, key=KEY, footer={})
    assert files(store) == []


@pytest.mark.parametrize("column", ["crop_id", "latent", "loss"])
def test_null_in_a_never_null_column_is_refused(local: Store, column: str) -> None:
    batch = pa.RecordBatch.from_pylist([row(0), {**row(1), column: None}], schema=SCHEMA)
    with pytest.raises(ValueError, match=f"'{column}' expected no null, got 1"):
        local.write("latents/toy", "all", [batch], schema=SCHEMA, key=KEY, footer={})


def test_null_inside_a_tensor_is_refused(local: Store) -> None:
    broken = {**row(1), "latent": [[0.0] * W, [0.0] * W, [0.0, None, 0.0, 0.0]]}
    batch = pa.RecordBatch.from_pylist([row(0), broken], schema=SCHEMA)
    with pytest.raises(ValueError, match=r"latent\[\]\[\]"):
        local.write("latents/toy", "all", [batch], schema=SCHEMA, key=KEY, footer={})


def test_rows_are_read_in_batches_and_columns_as_asked(store: Store) -> None:
    store.write("latents/toy", "all", [rows(0, 300)], schema=SCHEMA, key=KEY, footer={})
    batches = list(store.read("latents/toy", "all", ["seed", "latent"], batch_rows=64))
    assert max(batch.num_rows for batch in batches) <= 64
    assert batches[0].schema.names == ["seed", "latent"]
    read = pa.Table.from_batches(batches).to_pylist()
    assert read == rows(0, 300).select(["seed", "latent"]).to_pylist()
    assert batches[0].schema.field("latent") == SCHEMA.field("latent")


def test_row_groups_do_not_depend_on_the_chunks(local: Store) -> None:
    publish(local, chunks(700, 30))
    with pq.ParquetFile(local.uri("latents/toy", "shard-000001")) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [256, 256, 118]


def test_unknown_column_and_absent_shard_say_what_there_is(store: Store) -> None:
    store.write("latents/toy", "all", [rows(0, 2)], schema=SCHEMA, key=KEY, footer={})
    with pytest.raises(ValueError, match="expected columns \\['sed'\\]"):
        list(store.read("latents/toy", "all", ["sed"]))
    for call in (
        lambda: list(store.read("latents/toy", "b")),
        lambda: store.num_rows("latents/toy", "b"),
    ):
        with pytest.raises(FileNotFoundError, match=r"got \['all'\]; materialise 'latents/toy'"):
            call()


def test_empty_tables_keep_their_columns(store: Store) -> None:
    done = publish(store, chunks(0, 10))
    assert (done.num_rows, done.rejects) == (0, {})
    assert store.table("latents/toy", "shard-000001").schema.equals(SCHEMA)
    assert store.table("latents/toy", "shard-000001", ["loss"]).schema.names == ["loss"]


def test_read_all_and_listings_know_only_what_is_published(store: Store) -> None:
    for number in (2, 1):
        shard = f"shard-00000{number}"
        store.write("latents/toy", shard, [rows(number, 1)], schema=SCHEMA, key=KEY, footer={})
    store.write("models", "all", [rows(0, 1)], schema=SCHEMA, key=KEY, footer={})
    assert store.shards("latents/toy") == ["shard-000001", "shard-000002"]
    assert store.tables() == ["latents/toy", "models"]
    assert [batch["seed"].to_pylist() for batch in store.read_all("latents/toy")] == [[1], [2]]
    assert store.shards("edits/toy") == []
    assert list(store.read_all("edits/toy")) == []


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_cut_file_is_not_done_and_is_made_again(local: Store, left: int) -> None:
    publish(local, chunks(20, 10))
    path = Path(local.uri("latents/toy", "shard-000001"))
    path.write_bytes(path.read_bytes()[:left])
    assert local.footer("latents/toy", "shard-000001") is None
    assert publish(local, chunks(20, 10)).num_rows == 18


def test_a_cut_part_is_made_again(local: Store) -> None:
    with contextlib.suppress(RuntimeError):
        publish(local, interrupted)
    part = next(Path(local.base).rglob("_parts/*/000000010-000010.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    starts: list[int] = []
    publish(local, lambda start: starts.append(start) or chunks(45, 10)(start))
    assert starts == [10]
    assert local.num_rows("latents/toy", "shard-000001") == 40


def test_parts_of_a_done_shard_are_tidied_away_and_those_under_way_stay(store: Store) -> None:
    """As a kill right after the publication leaves them."""
    publish(store, chunks(20, 10))
    done = files(store)
    for shard, key in (("shard-000001", KEY), ("shard-000002", KEY)):
        folder = store._parts("latents/toy", shard, key)
        Parts(store.fs, folder, SCHEMA, schemas.REJECTS).commit(0, chunk(0, 10), 0.0)
    store.tidy("latents/toy")
    left = [name for name in files(store) if name not in done]
    assert left and all(name.startswith("_parts/shard-000002-") for name in left)


def test_other_chunk_sizes_go_on_with_the_same_parts(store: Store) -> None:
    with pytest.raises(RuntimeError):
        publish(store, interrupted)
    starts: list[int] = []
    publish(store, lambda start: starts.append(start) or chunks(45, 7)(start))
    assert starts == [30]
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    publish(straight, chunks(45, 45))
    assert everything(store) == everything(straight)


def interrupted(start: int) -> Iterator[Chunk]:
    yield from list(chunks(45, 10)(start))[:3]
    raise RuntimeError


@pytest.mark.parametrize("name", ["../x", "", ".x", "_parts", "a b", "x/../y"])
def test_names_that_leave_the_store_are_refused(local: Store, name: str) -> None:
    with pytest.raises(ValueError, match="expected a table name"):
        local.shards(name)


def test_footer_is_text_and_not_the_stores_own(local: Store) -> None:
    with pytest.raises(TypeError, match=r"json\.dumps"):
        local.write("t", "all", [], schema=SCHEMA, key=KEY, footer={"config": {"a": 1}})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="'num_inputs'"):
        local.write("t", "all", [], schema=SCHEMA, key=KEY, footer={"num_inputs": "3"})


def test_a_chunk_without_inputs_is_refused(local: Store) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        publish(local, lambda start: iter([chunk(0, 0)]))


def test_every_reader_sees_the_shape(local: Store) -> None:
    pandas, duckdb = pytest.importorskip("pandas"), pytest.importorskip("duckdb")
    local.write("latents/toy", "all", [rows(0, 5)], schema=SCHEMA, key=KEY, footer={})
    path, expected = local.uri("latents/toy", "all"), np.array(row(4)["latent"], np.float32)
    frame = pandas.read_parquet(path)
    assert np.array_equal(np.stack(frame["latent"][4]), expected)
    [(found,)] = duckdb.sql(f"select latent from '{path}' where seed = 4").fetchall()
    assert np.array_equal(np.array(found, np.float32), expected)


def test_datasets_opens_it_as_tensors(local: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    local.write("latents/toy", "all", [rows(0, 5)], schema=SCHEMA, key=KEY, footer={})
    path = local.uri("latents/toy", "all")
    loaded = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path / "cache"))
    assert loaded.with_format("numpy")[:]["latent"].shape == (5, ROWS, W)


def child(root: str, total: int, size: int, pause_s: float) -> None:
    publish(Store(root, "faces"), chunks(total, size, pause_s))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_at_any_moment_the_same_call_gives_an_equal_table(tmp_path: Path) -> None:
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    publish(straight, chunks(60, 5))
    random_ = random.Random(7)
    context = multiprocessing.get_context("fork")
    for trial in range(8):
        root = str(tmp_path / str(trial))
        for _ in range(2):
            process = context.Process(target=child, args=(root, 60, 5, 0.003))
            process.start()
            time.sleep(random_.uniform(0.0, 0.15))
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        store = Store(root, "faces")
        publish(store, chunks(60, 5))
        assert everything(store) == everything(straight)
        assert not list(Path(root).rglob("*.tmp"))
        assert not list(Path(root).rglob("_parts/*"))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_at_one_shard_do_not_mix(tmp_path: Path) -> None:
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    publish(straight, chunks(60, 5))
    context = multiprocessing.get_context("fork")
    for trial in range(4):
        root = str(tmp_path / str(trial))
        jobs = [(root, 60, 5, 0.002), (root, 60, 7, 0.002), (root, 60, 5, 0.003)]
        processes = [context.Process(target=child, args=job) for job in jobs]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert everything(Store(root, "faces")) == everything(straight)


def test_a_chunk_is_written_while_the_next_is_made(local: Store, monkeypatch) -> None:
    """Committing waits here until the next chunk has been begun: it can only be by then."""
    begun = [threading.Event() for _ in range(4)]
    commit = Parts.commit

    def after_the_next(self: Parts, start: int, *rest: Any) -> Part:
        if start < 20:
            assert begun[start // 10 + 1].wait(10)
        return commit(self, start, *rest)

    def after(start: int) -> Iterator[Chunk]:
        for first in range(start, 30, 10):
            begun[first // 10].set()
            yield chunk(first, 10)

    monkeypatch.setattr(Parts, "commit", after_the_next)
    assert publish(local, after).num_rows == 27


def test_what_was_made_before_an_error_is_committed(local: Store) -> None:
    def broken(start: int) -> Iterator[Chunk]:
        yield chunk(0, 10)
        yield chunk(10, 10)
        raise RuntimeError("the third cannot be made")

    with pytest.raises(RuntimeError, match="the third cannot be made"):
        publish(local, broken)
    starts: list[int] = []
    publish(local, lambda start: starts.append(start) or chunks(30, 10)(start))
    assert starts == [20]


def test_a_chunk_that_cannot_be_written_ends_the_making(local: Store) -> None:
    closed: list[bool] = []

    def endless(start: int) -> Iterator[Chunk]:
        try:
            while True:
                yield Chunk(10, chunk(0, 10).rejects, chunk(0, 10).rejects)  # no rows of the table
        finally:
            closed.append(True)

    with pytest.raises(ValueError, match="rows do not fit their table"):
        publish(local, endless)
    assert closed == [True]


def test_memory_does_not_grow_with_the_shard(tmp_path: Path) -> None:
    """Peak memory of making and reading 64 MB and 192 MB of rows, in a process of its own."""
    script = """
import os, resource, sys
import pyarrow as pa
from ops.streams import Chunk
from ops.schemas import REJECTS
from resources.tables import Store
schema = pa.schema([pa.field("picture", pa.binary(), False)])
store = Store(sys.argv[1], "faces")
none = pa.RecordBatch.from_pylist([], schema=REJECTS)
def chunks(total):
    def after(start):
        for _ in range(start, total, 64):
            rows = [{"picture": os.urandom(125_000)} for _ in range(64)]
            yield Chunk(64, pa.RecordBatch.from_pylist(rows, schema=schema), none)
    return after
def peak(shard, total):
    store.publish("p", shard, schema=schema, key="k" * 64, footer={}, chunks=chunks(total),
                  rejects_schema=REJECTS)
    assert sum(b.num_rows for b in store.read("p", shard, batch_rows=8)) == total
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
small = peak("a", 512)
print(peak("b", 1536) - small)
"""
    run = [sys.executable, "-c", script, str(tmp_path)]
    grown_mb = float(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
    assert grown_mb < 64  # the larger shard is 128 MB longer
