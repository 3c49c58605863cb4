"""A signal ends a run at once, and the same command goes on where it stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from invertory.resources.gpu import Gpu
from invertory.resources.locks import holding

LONG = {"methods": {"image2stylegan": {"steps": 1_000_000}}}
SHORT = {"methods": {"image2stylegan": {"steps": 2}}}


def start(world: Any, *command: str) -> subprocess.Popen:
    (world.folder / "tmp").mkdir(exist_ok=True)
    told = {
        "INVERTORY_STORE": str(world.folder / "store"),
        "DAGSTER_HOME": str(world.folder / "home"),
        "TMPDIR": str(world.folder / "tmp"),
        "XDG_RUNTIME_DIR": "",
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


def wait_for(folder: Path, name: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + 240
    while not list(folder.rglob(name)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, f"no {name} in {folder} within 240 s"
        time.sleep(0.1)


def statuses(world: Any) -> list[dg.DagsterRunStatus]:
    """Of the runs, the first one first."""
    with dg.DagsterInstance.from_config(str(world.folder / "home")) as instance:
        return [run.status for run in reversed(instance.get_runs())]


def ended(process: subprocess.Popen, timeout_s: float) -> tuple[str, str]:
    """What it said; one that does not end is killed, for it would hold the device for ever."""
    try:
        return process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_of_several_shards(make_world, number):
    world = make_world("abcdef", **LONG)
    process = start(world, "run", str(world.folder / "recipes" / "toy.yaml"))
    wait_for(world.folder / "tmp", "cpu-0.lock", process)
    time.sleep(1)
    process.send_signal(number)
    out, errors = ended(process, 30)
    assert process.returncode == 128 + number, out + errors
    assert "run the same command again to resume" in errors
    assert world.store.shards("images") == ["shard-000001"]
    assert statuses(world)[-1] == dg.DagsterRunStatus.FAILURE

    world.change(**SHORT)
    process = start(world, "run", str(world.folder / "recipes" / "toy.yaml"))
    out, errors = ended(process, 180)
    assert process.returncode == 0, out + errors
    assert not list(world.chain.pending(world.store))


def said(process: subprocess.Popen, wanted: str) -> str:
    """The line of its errors that has `wanted`."""
    for line in process.stderr:
        if wanted in line:
            return line
    raise AssertionError(f"it never said {wanted!r}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_waits_for_a_device_says_so_and_ends_by_a_signal(
    make_world, monkeypatch, number
):
    world = make_world("a", resources={"device": "cpu", "cpu_slots": 1})
    (world.folder / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(world.folder / "tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setenv("DAGSTER_HOME", str(world.folder / "home"))
    with Gpu(device="cpu", cpu_slots=1).lease():
        process = start(world, "run", str(world.folder / "recipes" / "toy.yaml"), "--json")
        line = said(process, "waits for cpu:0")
        assert f"held by process {os.getpid()} on {socket.gethostname()} since 2" in line
        began = processor_s(process)
        time.sleep(2)
        assert processor_s(process) - began < 1
        process.send_signal(number)
        out, errors = ended(process, 15)
    assert process.returncode == 128 + number, out + errors
    assert statuses(world)[-1] == dg.DagsterRunStatus.FAILURE


@pytest.mark.parametrize(
    ("table", "name", "what"),
    [
        ("entries", "intake", "the intake of images"),
        ("images", "shard-000001", "images of shard-000001"),  # made by another run just now
    ],
)
def test_a_run_that_waits_for_another_says_so_and_ends_by_a_signal(make_world, table, name, what):
    world = make_world("a")
    with holding(world.store.lock_path(table, name), what):
        process = start(world, "run", str(world.folder / "recipes" / "toy.yaml"))
        assert f"process {os.getpid()}" in said(process, f"waits for {what}")
        process.send_signal(signal.SIGTERM)
        out, errors = ended(process, 15)
    assert process.returncode == 143, out + errors


def test_a_run_that_heeds_no_signal_is_cut_off(tmp_path):
    code = """
import signal, sys, time
from invertory.pipelines.processes import stopping
stopping.GRACE_S = 0.5
with stopping.bounded_stop(lambda: print("last words", flush=True)):
    signal.signal(signal.SIGTERM, lambda *_: None)
    print("deaf", flush=True)
    while True:
        time.sleep(0.1)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "deaf\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, out) == (143, "last words\n")


def processor_s(process: subprocess.Popen) -> float:
    """Processor time that it has used so far."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
