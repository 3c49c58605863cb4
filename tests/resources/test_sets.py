"""An exported set is current as a whole or not at all, whatever kills, races and flips bits."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from invertory.resources.sets import SetVersions
from invertory.resources.sets.removal import KEEP_S

FORMATS = ("webdataset", "imagefolder")
FORK = multiprocessing.get_context("fork")
CHANGES = {"os.rename", "os.symlink", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"}
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def key(letter: str) -> str:
    return letter * 64


def files_of(letter: str, number: int = 6) -> dict[str, bytes]:
    return {f"train/{i:03d}.png": f"{letter}{i}".encode() * 50 for i in range(number)}


def write(letter: str, number: int = 6) -> Callable[[Any], None]:
    """Files of both formats, each with its manifest."""

    def into(create: Any) -> None:
        for name in FORMATS:
            listed = []
            for file, data in files_of(letter, number).items():
                with create(f"{name}/{file}") as sink:
                    sink.write(data)
                sha256 = hashlib.sha256(data).hexdigest()
                listed.append({"name": file, "size_bytes": len(data), "sha256": sha256})
            with create(f"{name}/manifest.json") as sink:
                sink.write(json.dumps({"files": listed}).encode())

    return into


def publish(sets: SetVersions, letter: str, number: int = 6) -> None:
    sets.publish(key(letter), FORMATS, write(letter, number))


def faults(sets: SetVersions, letter: str, **how: bool) -> list[str]:
    return [path for path, _ in sets.faults(key(letter), FORMATS, 6, **how)]


def local(folder: Path) -> SetVersions:
    return SetVersions(fsspec.filesystem("file"), str(folder))


def read_at(folder: Path, name: str = FORMATS[0]) -> dict[str, bytes]:
    """What a user finds at the documented path."""
    manifest = json.loads((folder / name / "manifest.json").read_text())
    return {file["name"]: (folder / name / file["name"]).read_bytes() for file in manifest["files"]}


@pytest.fixture(params=["local", "memory", "s3"])
def sets(request: pytest.FixtureRequest, tmp_path: Path) -> SetVersions:
    if request.param == "local":
        return local(tmp_path / "sets/m")
    name = uuid.uuid4().hex
    if request.param == "memory":
        return SetVersions(fsspec.filesystem("memory"), f"/{name}/sets/m")
    fs = fsspec.filesystem("s3", **request.getfixturevalue("bucket"))
    return SetVersions(fs, f"bucket/{name}/sets/m")


def test_a_set_is_whole_under_its_key_and_no_other(sets: SetVersions) -> None:
    assert sets.current() is None
    publish(sets, "a")
    assert faults(sets, "a") == faults(sets, "a", is_thorough=True) == []
    assert faults(sets, "b")
    publish(sets, "b")
    assert faults(sets, "b") == []
    assert faults(sets, "a")


def test_a_sound_set_is_not_written_again(sets: SetVersions) -> None:
    publish(sets, "a")
    publish(sets, "b")
    sets.publish(key("a"), FORMATS, lambda create: pytest.fail("written again"))
    assert faults(sets, "a") == []


@pytest.mark.parametrize("harm", ["lost", "cut", "changed"])
@pytest.mark.parametrize("file", ["train/003.png", "manifest.json", "../set.json"])
def test_a_harmed_file_is_noticed_and_the_set_made_again(sets, harm: str, file: str) -> None:
    publish(sets, "a")
    path = os.path.normpath(f"{sets.current()}/{FORMATS[1]}/{file}")
    fs, data = sets._fs, sets._fs.cat_file(path)
    time.sleep(1.1 if "s3" in fs.protocol else 0.02)  # its times are in whole seconds
    if harm == "lost":
        fs.rm_file(path)
    else:
        fs.pipe_file(path, data[:-3] if harm == "cut" else data[:9] + b"#" + data[10:])
    assert faults(sets, "a") == [path]
    publish(sets, "a")
    assert faults(sets, "a", is_thorough=True) == []


@pytest.mark.parametrize("seed", range(3))
def test_every_flipped_bit_of_a_set_is_found(tmp_path: Path, seed: int) -> None:
    sets, draw = local(tmp_path), random.Random(seed)
    publish(sets, "a")
    paths = sorted(p for p in Path(sets.current() or "").rglob("*") if p.is_file())
    for _ in range(60):
        path = draw.choice(paths)
        whole, times = path.read_bytes(), (path.stat().st_atime, path.stat().st_mtime)
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        os.utime(path, times)  # as a disk rots, without a word
        assert faults(sets, "a", is_thorough=True) == [str(path)]
        path.write_bytes(whole)
        os.utime(path, times)


def test_a_copied_set_is_whole(tmp_path: Path) -> None:
    publish(local(tmp_path / "a"), "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b", symlinks=True)
    assert faults(local(tmp_path / "b"), "a") == []
    assert read_at(tmp_path / "b") == files_of("a")


def test_a_format_that_is_no_longer_asked_for_has_no_path(tmp_path: Path) -> None:
    sets = local(tmp_path)
    publish(sets, "a")
    sets.publish(key("b"), FORMATS[:1], write("b"))
    assert read_at(tmp_path) == files_of("b")
    assert not (tmp_path / FORMATS[1]).is_symlink()


def test_a_reader_of_the_old_set_is_not_hurt(tmp_path: Path) -> None:
    sets = local(tmp_path)
    publish(sets, "a")
    folder = (tmp_path / FORMATS[0]).resolve()
    for letter in "bcd":
        publish(sets, letter)
        assert {n: (folder / n).read_bytes() for n in files_of("a")} == files_of("a")


def test_old_sets_are_removed_but_for_the_last(tmp_path: Path) -> None:
    sets = local(tmp_path)
    for letter in "abcd":
        publish(sets, letter)
        for path in (tmp_path / "_versions").rglob("*"):
            os.utime(path, (path.stat().st_mtime - KEEP_S,) * 2)
        time.sleep(0.01)
    names = sorted(path.name for path in (tmp_path / "_versions").iterdir())
    assert names == ["c" * 16, "d" * 16]


def as_written_before(folder: Path, letter: str) -> None:
    for name in FORMATS:
        for file, data in files_of(letter).items():
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / file).write_bytes(data)
        listed = [{"name": n, "size_bytes": len(d), "sha256": hashlib.sha256(d).hexdigest()}
                  for n, d in files_of(letter).items()]  # fmt: skip
        (folder / name / "manifest.json").write_text(json.dumps({"files": listed}))


def test_a_set_of_an_earlier_version_is_whole_and_gives_way(tmp_path: Path) -> None:
    sets = local(tmp_path)
    as_written_before(tmp_path, "a")
    assert faults(sets, "a") == faults(sets, "a", is_thorough=True) == []
    (tmp_path / FORMATS[0] / "train/001.png").unlink()
    assert faults(sets, "a") == [str(tmp_path / FORMATS[0] / "train/001.png")]
    publish(sets, "b")
    assert faults(sets, "b") == []
    assert read_at(tmp_path) == files_of("b")


def killed_at(number: int, folder: Path) -> int:
    """Publish in a process that dies right before its change `number` of the disk."""

    def work() -> None:
        left = [number]

        def watch(event: str, _: Any) -> None:
            if event in CHANGES:
                left[0] -= 1
                if left[0] < 0:
                    os._exit(9)

        sys.addaudithook(watch)
        publish(local(folder), "b")

    process = FORK.Process(target=work)
    process.start()
    process.join(60)
    return process.exitcode or 0


def test_a_kill_between_any_two_steps_leaves_a_whole_set(tmp_path: Path) -> None:
    publish(local(tmp_path / "start"), "a")
    for number in range(200):
        folder = tmp_path / str(number)
        shutil.copytree(tmp_path / "start", folder, symlinks=True)
        code = killed_at(number, folder)
        for name in FORMATS:
            assert read_at(folder, name) in (files_of("a"), files_of("b"))
        sets = local(folder)
        assert not faults(sets, "a", is_thorough=True) or not faults(sets, "b", is_thorough=True)
        publish(sets, "b")
        assert faults(sets, "b", is_thorough=True) == []
        assert hidden(folder) == []
        if code == 0:
            break
    assert code == 0
    assert number > 20


def hidden(folder: Path) -> list[str]:
    return [name for _, folders, files in os.walk(folder) for name in [*folders, *files]
            if name.startswith(".")]  # fmt: skip


def race(folder: Path, letters: str, out: Any) -> None:
    sets = local(folder)
    for letter in letters:
        publish(sets, letter, 12)
        out.put((letter, faults(sets, letter) == []))


@pytest.mark.parametrize("num_writers", [2, 4])
def test_writers_of_one_set_never_harm_it(tmp_path: Path, num_writers: int) -> None:
    for trial in range(12):
        folder, out = tmp_path / str(trial), FORK.SimpleQueue()
        writers = [FORK.Process(target=race, args=(folder, "a", out)) for _ in range(num_writers)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0] * num_writers
        assert [out.get() for _ in writers] == [("a", True)] * num_writers
        assert whole_at(folder) == files_of("a", 12)
        assert hidden(folder) == []


def whole_at(folder: Path) -> dict[str, bytes]:
    read = [read_at(folder, name) for name in FORMATS]
    assert read[0] == read[1]
    return read[0]


def test_writers_of_different_sets_leave_one_of_them_whole(tmp_path: Path) -> None:
    for trial in range(8):
        folder, out = tmp_path / str(trial), FORK.SimpleQueue()
        jobs = ("abab", "baba", "aabb", "bbaa")
        writers = [FORK.Process(target=race, args=(folder, job, out)) for job in jobs]
        for writer in writers:
            writer.start()
        while any(writer.is_alive() for writer in writers):
            if (folder / FORMATS[0]).exists():
                at = (folder / FORMATS[0]).resolve()  # a reader that holds on to one set
                manifest = json.loads((at / "manifest.json").read_text())
                assert all((at / file["name"]).exists() for file in manifest["files"])
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0] * 4
        assert whole_at(folder) in (files_of("a", 12), files_of("b", 12))
        assert hidden(folder) == []


def versions(sets: SetVersions) -> Iterator[str]:
    yield from sets._fs.ls(f"{sets._folder}/_versions", detail=False)


@pytest.mark.parametrize("sets", ["memory"], indirect=True)
def test_without_links_a_pointer_names_the_current_set(sets: SetVersions) -> None:
    publish(sets, "a")
    publish(sets, "b")
    pointer = json.loads(sets._fs.cat_file(f"{sets._folder}/current.json"))
    assert f"{sets._folder}/{pointer['folder']}" == sets.current()
    assert len(list(versions(sets))) == 2
