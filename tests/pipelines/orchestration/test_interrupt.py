"""Ctrl-C ends a run at once, and the same command goes on where it stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

LONG = {"methods": {"image2stylegan": {"steps": 1_000_000}}}
SHORT = {"methods": {"image2stylegan": {"steps": 2}}}


def start(world: Any, *command: str) -> subprocess.Popen:
    (world.folder / "tmp").mkdir(exist_ok=True)
    told = {
        "INVERTORY_STORE": str(world.folder / "store"),
        "DAGSTER_HOME": str(world.folder / "home"),
        "TMPDIR": str(world.folder / "tmp"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "invertory.pipelines.cli.main", *command],
        env=os.environ | told,
        cwd=world.folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    until = time.monotonic() + 240
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"no {path} within 240 s"
        time.sleep(0.1)


def ended(process: subprocess.Popen, timeout_s: float) -> tuple[str, str]:
    """What it said; one that does not end is killed, for it would hold the device for ever."""
    try:
        return process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


def test_one_interrupt_ends_a_run_of_several_shards(make_world):
    world = make_world("abcdef", **LONG)
    process = start(world, "run", str(world.folder / "recipes" / "toy.yaml"))
    lock = world.folder / "tmp" / "invertory-locks" / "cpu-0.lock"
    wait_for(lock, process)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, errors = ended(process, 90)
    assert process.returncode == 130, out + errors
    assert "the same command goes on where this one stopped" in errors
    assert world.store.shards("images") == ["shard-000001"]

    world.change(**SHORT)
    process = start(world, "run", str(world.folder / "recipes" / "toy.yaml"))
    out, errors = ended(process, 180)
    assert process.returncode == 0, out + errors
    assert not list(world.chain.pending(world.store))
