"""A device has one lease at a time, which is released however its holder ends."""

import itertools
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
import torch

from invertory.resources.gpu import Gpu

FORK = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def hold(folder: str, times: int, seconds: float, told: "multiprocessing.SimpleQueue") -> None:
    gpu = Gpu(device="cpu", lock_dir=folder, cpu_slots=1)
    for _ in range(times):
        with gpu.lease():
            start = time.monotonic()
            told.put("held")
            time.sleep(seconds)
            told.put((start, time.monotonic()))
        time.sleep(0.01)


def test_lease_gives_device_and_batch_size(tmp_path: Path) -> None:
    gpu = Gpu(device="cpu", batch_size=4, lock_dir=str(tmp_path))
    start = time.monotonic()
    with gpu.lease() as lease:
        time.sleep(0.02)
    passed_s = time.monotonic() - start
    assert (lease.device, lease.batch_size) == (torch.device("cpu"), 4)
    assert 0.02 <= lease.busy_s <= passed_s
    assert lease.peak_memory_bytes > 10e6


def test_measurements_are_available_if_the_block_fails(tmp_path: Path) -> None:
    gpu = Gpu(device="cpu", lock_dir=str(tmp_path), timeout_s=0)
    with pytest.raises(KeyboardInterrupt), gpu.lease() as lease:
        raise KeyboardInterrupt
    assert lease.peak_memory_bytes > 0
    with gpu.lease():
        pass


def test_two_processes_never_overlap(tmp_path: Path) -> None:
    told = FORK.SimpleQueue()
    jobs = [FORK.Process(target=hold, args=(str(tmp_path), 4, 0.05, told)) for _ in range(2)]
    for job in jobs:
        job.start()
    spans = sorted(span for span in (told.get() for _ in range(16)) if span != "held")
    for job in jobs:
        job.join(60)
    assert len(spans) == 8
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))


def test_a_killed_holder_releases_the_lease_and_a_live_one_is_named(tmp_path: Path) -> None:
    told = FORK.SimpleQueue()
    process = FORK.Process(target=hold, args=(str(tmp_path), 1, 60.0, told))
    process.start()
    assert told.get() == "held"
    gpu = Gpu(device="cpu", lock_dir=str(tmp_path), cpu_slots=1, timeout_s=0.1)
    with pytest.raises(TimeoutError, match=f"cpu:0 is held by process {process.pid}"), gpu.lease():
        pass
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(60)
    with gpu.lease() as lease:
        assert lease.device.type == "cpu"


def test_cpu_slots_are_counted(tmp_path: Path) -> None:
    gpu = Gpu(device="cpu", lock_dir=str(tmp_path), cpu_slots=2, timeout_s=0)
    with gpu.lease(), gpu.lease(), pytest.raises(TimeoutError, match="cpu:1"), gpu.lease():
        pass


def test_slots_follow_the_cores_and_the_threads(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    gpu = Gpu(device="cpu", lock_dir=str(tmp_path), timeout_s=0)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with gpu.lease(), gpu.lease(), gpu.lease(), pytest.raises(TimeoutError, match="cpu:2"):
        gpu.lease().__enter__()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 12)
    with gpu.lease(), pytest.raises(TimeoutError, match="got none: cpu:0"), gpu.lease():
        pass


def test_projects_do_not_wait_for_each_other_on_the_cpu(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gpu = Gpu(device="cpu", cpu_slots=1, timeout_s=0)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "one"))
    with gpu.lease():
        with pytest.raises(TimeoutError, match="choose another device"), gpu.lease():
            pass
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "two"))
        with gpu.lease():
            pass
    folder = tmp_path / f"invertory-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_waiting_process_names_the_holder_at_once(tmp_path: Path) -> None:
    told = FORK.SimpleQueue()
    process = FORK.Process(target=hold, args=(str(tmp_path), 1, 1.0, told))
    process.start()
    assert told.get() == "held"
    said: list[str] = []
    gpu = Gpu(device="cpu", lock_dir=str(tmp_path), cpu_slots=1)
    with gpu.lease(waiting=said.append):
        pass
    process.join(60)
    assert said[0].startswith(f"waits for cpu:0: cpu:0 is held by process {process.pid}")


def test_auto_uses_the_cpu_only_without_a_gpu(tmp_path: Path) -> None:
    with Gpu(lock_dir=str(tmp_path)).lease() as lease:
        assert lease.device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_an_unknown_device_lists_the_available_ones(tmp_path: Path) -> None:
    gpu = Gpu(device="cuda:99", lock_dir=str(tmp_path))
    message = r"expected device 'cuda:99', got only \[.*'cpu'\]"
    with pytest.raises(ValueError, match=message), gpu.lease():
        pass


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_locked_by_its_uuid_and_its_peak_is_measured(tmp_path: Path) -> None:
    with Gpu(device="cuda", lock_dir=str(tmp_path)).lease() as lease:
        torch.zeros(1 << 20, device=lease.device)
    assert lease.peak_memory_bytes >= 4 << 20
    uuid = torch.cuda.get_device_properties(lease.device).uuid
    assert (tmp_path / f"gpu-{uuid}.lock").exists()
