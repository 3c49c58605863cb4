"""What was made before an error or a kill is not made again, and the table comes out equal."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import random
import signal
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from invertory.ops import schemas
from invertory.ops.streams import Chunk
from invertory.ops.totals import InputTotal, Totals
from invertory.resources.locks import holding
from invertory.resources.tables import Store
from invertory.resources.tables.chunks import ChunkFiles


def test_a_stage_that_fails_publishes_nothing_and_goes_on_later(store, latents):
    def fail_after(start: int) -> Iterator[Chunk]:
        yield from list(latents.chunks(45, 10)(start))[:2]
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        latents.publish(store, fail_after)
    assert store.key("latents/toy", "shard-000001") is None
    assert store.shards("latents/toy") == store.tables() == []
    starts: list[int] = []
    latents.publish(store, lambda start: starts.append(start) or latents.chunks(45, 10)(start))
    assert starts == [20]
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    latents.publish(straight, latents.chunks(45, 10))
    assert latents.read(store) == latents.read(straight)


@pytest.mark.parametrize("left", [0, 4, 100, -1])
def test_a_cut_file_is_not_done_and_is_made_again(local, left, latents):
    latents.publish(local, latents.chunks(20, 10))
    path = Path(local.uri("latents/toy", "shard-000001"))
    path.write_bytes(path.read_bytes()[:left])
    assert local.footer("latents/toy", "shard-000001") is None
    assert latents.publish(local, latents.chunks(20, 10)).num_rows == 18


def test_a_cut_part_is_made_again(local, latents):
    with contextlib.suppress(RuntimeError):
        latents.publish(local, latents.interrupted)
    part = next(Path(local.base).rglob("_parts/*/000000010-000010.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    starts: list[int] = []
    latents.publish(local, lambda start: starts.append(start) or latents.chunks(45, 10)(start))
    assert starts == [10]
    assert local.num_rows("latents/toy", "shard-000001") == 40


def test_parts_of_a_done_shard_are_tidied_away_and_those_under_way_stay(store, latents):
    """As a kill right after the publication leaves them."""
    latents.publish(store, latents.chunks(20, 10))
    done = latents.files(store)
    for shard, key in (("shard-000001", latents.key), ("shard-000002", latents.key)):
        folder = store.chunk_folder("latents/toy", shard, key)
        ChunkFiles(store.fs, folder, latents.schema, schemas.REJECTS).commit(
            0, latents.chunk(0, 10), 0.0
        )
    store.tidy("latents/toy")
    left = [name for name in latents.files(store) if name not in done]
    assert left and all(name.startswith("_parts/shard-000002-") for name in left)


def crop_totals() -> Totals:
    return Totals(InputTotal("crop_id", lambda row_id: row_id.partition(":")[0]))


def test_totals_cover_what_was_committed_before_an_error(store, latents):
    with contextlib.suppress(RuntimeError):
        latents.publish(store, latents.interrupted, totals=crop_totals)
    done = latents.publish(store, latents.chunks(45, 10), totals=crop_totals)
    expected = {"num_rows": 40, "num_accounted": 45, "num_repeated": 0, "num_sound": 40}
    assert done.totals == store.summary("latents/toy", "shard-000001").totals == expected
    assert json.loads(store.footer("latents/toy", "shard-000001")["totals"]) == expected


def test_totals_are_added_up_anew_where_a_chunk_turns_out_corrupt(local, latents):
    with contextlib.suppress(RuntimeError):
        latents.publish(local, latents.interrupted)
    rotten = next(Path(local.base).rglob("_parts/*/000000010-000010.parquet"))
    data = bytearray(rotten.read_bytes())
    data[50] ^= 1
    rotten.write_bytes(data)
    done = latents.publish(local, latents.chunks(45, 10), totals=crop_totals)
    assert (done.totals["num_rows"], done.totals["num_accounted"]) == (40, 45)


def test_locks_of_killed_processes_are_tidied_away_and_held_ones_stay(local, latents):
    latents.publish(local, latents.chunks(20, 10))
    held, left = (local.lock_path("latents/toy", f"shard-00000{n}") for n in (1, 2))
    left.touch()
    with holding(held, "a shard"):
        local.tidy("latents/toy")
        assert held.exists()
    assert not left.exists()


def test_other_chunk_sizes_go_on_with_the_same_parts(store, latents):
    with pytest.raises(RuntimeError):
        latents.publish(store, latents.interrupted)
    starts: list[int] = []
    latents.publish(store, lambda start: starts.append(start) or latents.chunks(45, 7)(start))
    assert starts == [30]
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    latents.publish(straight, latents.chunks(45, 45))
    assert latents.read(store) == latents.read(straight)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_at_any_moment_the_same_call_gives_an_equal_table(tmp_path, latents):
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    latents.publish(straight, latents.chunks(60, 5))
    random_ = random.Random(7)
    context = multiprocessing.get_context("fork")
    for trial in range(8):
        root = str(tmp_path / str(trial))
        for _ in range(2):
            process = context.Process(target=latents.publish_in, args=(root, 60, 5, 0.003))
            process.start()
            time.sleep(random_.uniform(0.0, 0.15))
            os.kill(process.pid or 0, signal.SIGKILL)
            process.join()
        store = Store(root, "faces")
        latents.publish(store, latents.chunks(60, 5))
        assert latents.read(store) == latents.read(straight)
        assert not list(Path(root).rglob("*.tmp"))
        assert not list(Path(root).rglob("_parts/*"))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_processes_at_one_shard_do_not_mix(tmp_path, latents):
    straight = Store(f"memory://{uuid.uuid4().hex}", "faces")
    latents.publish(straight, latents.chunks(60, 5))
    context = multiprocessing.get_context("fork")
    for trial in range(4):
        root = str(tmp_path / str(trial))
        jobs = [(root, 60, 5, 0.002), (root, 60, 7, 0.002), (root, 60, 5, 0.003)]
        processes = [context.Process(target=latents.publish_in, args=job) for job in jobs]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0, 0, 0]
        assert latents.read(Store(root, "faces")) == latents.read(straight)


def test_a_publication_waits_for_another_and_says_whose(local, latents):
    said: list[str] = []
    lock = local.lock_path("latents/toy", "shard-000001")
    with contextlib.ExitStack() as stack:
        stack.enter_context(holding(lock, "the shard"))

        def waiting(text: str) -> None:
            said.append(text)
            local.tidy("latents/toy")  # leaves a lock that is held
            assert lock.exists()
            stack.close()

        latents.publish(local, latents.chunks(20, 10), waiting=waiting)
    assert "waits for latents/toy of shard-000001: " in said[0]
    assert f"is held by process {os.getpid()} on {socket.gethostname()} since 2" in said[0]
    assert not list(Path(local.base).rglob(".*"))


def test_locks_that_killed_processes_left_are_tidied_away(local, latents):
    latents.publish(local, latents.chunks(20, 10))
    left = [
        local.lock_path("latents/toy", "shard-000001"),
        Path(local.base) / "latents/toy/_parts/.shard-000001.lock",
    ]  # of an earlier version
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    local.tidy("latents/toy")
    assert not [path for path in left if path.exists()]


def test_what_was_made_before_an_error_is_committed(local, latents):
    def broken(start: int) -> Iterator[Chunk]:
        yield latents.chunk(0, 10)
        yield latents.chunk(10, 10)
        raise RuntimeError("the third cannot be made")

    with pytest.raises(RuntimeError, match="the third cannot be made"):
        latents.publish(local, broken)
    starts: list[int] = []
    latents.publish(local, lambda start: starts.append(start) or latents.chunks(30, 10)(start))
    assert starts == [20]
