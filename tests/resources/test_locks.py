"""Locks exclude each other, say who holds them, and touch nothing that is not theirs."""

import json
import multiprocessing
import os
import signal
import socket
import stat
import threading
import time
from pathlib import Path

import pytest

from invertory.resources import lock_folders
from invertory.resources.lock_folders import host_folder, scratch_folder, store_lock, user_folder
from invertory.resources.locks import holder, holding, holding_one
from invertory.resources.tables import Store

FORK = multiprocessing.get_context("fork")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A temporary folder that is open to all, as /tmp is."""
    folder = tmp_path / "host"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(lock_folders, "HOST_FOLDERS", (folder,))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return folder


def hold(path: Path, seconds: float, told: "multiprocessing.SimpleQueue") -> None:
    with holding(path, "the lock"):
        told.put("held")
        time.sleep(seconds)


def test_a_holder_is_named_with_its_host_and_time(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with holding(path, "the lock"):
        record = json.loads(path.read_text())
        assert (record["pid"], record["host"]) == (os.getpid(), socket.gethostname())
        said = f"process {os.getpid()} on {socket.gethostname()} since {record['since']}"
        assert holder(path) == said
        second = holding(path, "the lock", timeout_s=0)
        with pytest.raises(TimeoutError, match="the lock is held by process"), second:
            pass
    assert not path.exists()


def test_a_killed_holder_is_not_waited_for(tmp_path: Path) -> None:
    told = FORK.SimpleQueue()
    process = FORK.Process(target=hold, args=(tmp_path / ".lock", 60.0, told))
    process.start()
    assert told.get() == "held"
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(60)
    said: list[str] = []
    with holding(tmp_path / ".lock", "the lock", waiting=said.append, timeout_s=5):
        assert said == []


def test_waiting_costs_no_processor_time_and_is_repeated(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("invertory.resources.locks.FIRST_REMINDER_S", 0.5)
    told = FORK.SimpleQueue()
    process = FORK.Process(target=hold, args=(tmp_path / ".lock", 3.0, told))
    process.start()
    assert told.get() == "held"
    said: list[str] = []
    began = time.process_time()
    with holding(tmp_path / ".lock", "the lock", waiting=said.append):
        assert time.process_time() - began < 0.5
    process.join(60)
    assert said[0].startswith("waits for the lock: the lock is held by process")
    assert any(text.startswith("has waited ") for text in said)


def test_many_threads_hold_a_lock_one_by_one_though_its_file_goes(tmp_path: Path) -> None:
    inside, worst = [0], [0]

    def work() -> None:
        for _ in range(10):
            with holding(tmp_path / ".lock", "the lock"):
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert worst == [1]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"), holding(tmp_path / ".lock", "the lock"):
        pass
    shared = holding_one({"x": tmp_path / ".lock"}, is_shared=True)
    with pytest.raises(OSError, match="symbolic links"), shared:
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_shared_lock_leaves_a_file_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "gpu.lock"
    path.write_text("another user's")
    path.chmod(0o640)
    with holding_one({"gpu": path}, is_shared=True):
        assert path.read_text() == "another user's"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_locks_of_all_users_lie_in_a_sticky_folder(host: Path) -> None:
    assert stat.S_IMODE(host_folder().stat().st_mode) == 0o1777
    assert [path.name for path in host.iterdir()] == ["invertory-locks"]
    host_folder().chmod(0o777)  # as earlier versions left it
    assert stat.S_IMODE(host_folder().stat().st_mode) == 0o1777
    with holding_one({"gpu": host_folder() / "gpu.lock"}, is_shared=True):
        assert stat.S_IMODE((host_folder() / "gpu.lock").stat().st_mode) == 0o666


def test_a_link_in_place_of_the_folder_is_refused(host: Path, tmp_path: Path) -> None:
    (host / "invertory-locks").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError, match="set lock_dir"):
        host_folder()


def test_what_is_the_users_is_closed_to_others(host: Path, tmp_path, monkeypatch) -> None:
    assert user_folder() == scratch_folder() == host / f"invertory-{os.getuid()}"
    assert stat.S_IMODE(scratch_folder().stat().st_mode) == 0o700
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    assert user_folder() == runtime / "invertory"
    runtime.chmod(0o777)
    assert user_folder() == scratch_folder()


def test_a_scratch_folder_that_was_taken_is_not_used(host: Path, tmp_path: Path) -> None:
    (tmp_path / "trap").mkdir()
    (host / f"invertory-{os.getuid()}").symlink_to(tmp_path / "trap")
    folder = scratch_folder()
    assert folder.parent == host
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert folder == scratch_folder()
    (folder / "x").touch()
    assert not list((tmp_path / "trap").iterdir())


def test_the_lock_of_a_store_belongs_to_the_store(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("INVERTORY_CACHE", str(tmp_path / "cache"))
    local = Store(str(tmp_path / "store"), "toy").lock_path("entries", "intake")
    assert local == tmp_path / "store/toy/entries/.intake.lock"
    with holding(local, "the intake"):
        assert not stat.S_IMODE(local.stat().st_mode) & stat.S_IWOTH
    remote = Store("memory://bucket", "toy").lock_path("entries", "intake")
    assert remote.parent == tmp_path / "cache" / "locks"
    assert stat.S_IMODE(remote.parent.stat().st_mode) == 0o700
    assert remote != store_lock("memory://bucket/other/entries/intake.parquet")
