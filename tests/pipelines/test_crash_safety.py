"""A run that is killed at any moment goes on from there, and comes to the very same tables."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from invertory.pipelines.processes.abandoned import (
    UNFINISHED,
    free_abandoned,
    living,
    process_tags,
    serving_runs,
    tag_served,
)
from invertory.resources.tables import Store

COMMAND = [sys.executable, "-m", "invertory.pipelines.cli", "run", "toy.yaml", "--json"]
TIMEOUT_S = 120


def start(folder: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """The command in a process group of its own."""
    errors = (folder / "errors.txt").open("ab")
    with errors:
        return subprocess.Popen(
            COMMAND,
            cwd=folder,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )


def finish(folder: Path, environment: dict[str, str]) -> Any:
    """What the command tells when it is left alone."""
    process = start(folder, environment)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, (folder / "errors.txt").read_text()[-2000:]
    return json.loads(out)


def kill(process: subprocess.Popen[bytes]) -> bool:
    """kill -9 of the whole group; False where it had ended already."""
    was_running = process.poll() is None
    if was_running:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return was_running


@pytest.fixture
def folders(tmp_path, draw_pictures, whole_recipe) -> Iterator[tuple[Path, Path]]:
    """Two folders alike: one for a run that is left alone, one for a run that is killed."""
    recipe = whole_recipe()
    recipe["collection"]["shard_size"] = 12
    recipe["resources"]["commit_rows"] = 2  # so that kills land between commits
    made = tmp_path / "alone", tmp_path / "killed"
    for folder in made:
        draw_pictures(folder / "pictures", 20)
        (folder / "pictures/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        for path in (folder / "pictures").iterdir():
            os.utime(path, (1e9, 1e9))  # the tables hold the files' times
        (folder / "toy.yaml").write_text(yaml.safe_dump(recipe))
    yield made


def wait_for_files(process: subprocess.Popen[bytes], folder: Path, number: int) -> None:
    """Return when the store has a file more and `number` published ones, or the process ended."""
    before = files_of(folder)
    until = time.monotonic() + TIMEOUT_S
    while process.poll() is None:
        now = files_of(folder)
        if now - before and len(published(now)) >= number:
            return
        assert time.monotonic() < until, (folder / "errors.txt").read_text()[-2000:]
        time.sleep(0.01)


def files_of(folder: Path) -> set[Path]:
    return set((folder / "store").rglob("*.parquet"))


def published(files: set[Path]) -> set[Path]:
    """Whole shards and their rejects, without the parts and the exported sets."""
    return {path for path in files if not {"_parts", "sets"} & set(path.parts)}


def kill_often(folders, environment_of, read_tables, num_kills: int, seed: int) -> None:
    """Kill a run at `num_kills` moments, spread over what it publishes, then let it end."""
    alone, killed = folders
    finish(alone, environment_of(alone))
    last = len(published(files_of(alone))) - 2
    rng, landed = random.Random(seed), 0
    for number in sorted(rng.sample(range(last), num_kills)):
        process = start(killed, environment_of(killed))
        wait_for_files(process, killed, number)
        time.sleep(rng.uniform(0, 0.2))
        landed += kill(process)
    told = finish(killed, environment_of(killed))
    assert landed >= 0.8 * num_kills, f"only {landed} kills came before the end"
    assert {table["num_pending"] for table in told["status"]["tables"]} == {0}
    require_equal(read_tables(Store(str(alone / "store"), "toy")),
                  read_tables(Store(str(killed / "store"), "toy")))  # fmt: skip
    assert sets_of(alone) == sets_of(killed)
    assert leftovers(killed) == []
    assert unfinished_runs(killed) == []


def require_equal(expected, got) -> None:
    """Every table: all columns of rows and rejects, and the footer but for times and run."""
    assert got.keys() == expected.keys()
    for place, (rows, rejects, footer) in expected.items():
        for name, wanted, found in (("rows", rows, got[place][0]),
                                    ("rejects", rejects, got[place][1])):  # fmt: skip
            assert found.column_names == wanted.column_names, (place, name)
            for column in wanted.column_names:
                assert found.column(column).equals(wanted.column(column)), (place, name, column)
        assert got[place][2] == footer, place


def sets_of(folder: Path) -> dict[str, bytes]:
    """The exported files, byte by byte."""
    sets = folder / "store/toy/sets"
    return {str(p.relative_to(sets)): p.read_bytes() for p in sets.rglob("*") if p.is_file()}


def leftovers(folder: Path) -> list[str]:
    """What nobody needs any more: parts and temporary files, in the store and in the scratch."""
    paths = [*(folder / "store").rglob("*"), *(folder / "tmp").rglob("*.tmp")]
    return [
        str(path)
        for path in paths
        if path.is_file() and ("_parts" in path.parts or path.name.startswith("."))
    ]


def unfinished_runs(folder: Path) -> list[str]:
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        runs = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
        return [run.run_id for run in runs]


def test_a_run_killed_three_times_comes_to_the_same_tables(folders, environment_of, read_tables):
    kill_often(folders, environment_of, read_tables, num_kills=3, seed=1)


@pytest.mark.slow
def test_a_run_killed_twenty_times_comes_to_the_same_tables(folders, environment_of, read_tables):
    kill_often(folders, environment_of, read_tables, num_kills=20, seed=2)


def test_a_run_killed_under_another_host_name_holds_nothing(folders, environment_of):
    _, folder = folders
    environment = environment_of(folder)
    (folder / "elsewhere").mkdir()
    code = "import socket; socket.gethostname = lambda: 'elsewhere'"
    (folder / "elsewhere/sitecustomize.py").write_text(code)
    path = os.pathsep.join([str(folder / "elsewhere"), os.environ.get("PYTHONPATH", "")])
    process = start(folder, environment | {"PYTHONPATH": path})
    parts = folder / "store/toy/latents/projector/_parts"
    until = time.monotonic() + TIMEOUT_S
    while not list(parts.glob("*/*.parquet")) and time.monotonic() < until:
        time.sleep(0.01)
    assert kill(process)
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        assert instance.event_log_storage.get_concurrency_info("gpu").active_slot_count == 0
        (abandoned,) = instance.get_runs(filters=dg.RunsFilter(statuses=UNFINISHED))
        assert abandoned.tags["invertory/process"].startswith("elsewhere:")
    assert finish(folder, environment)["failures"] == []
    with dg.DagsterInstance.from_config(str(folder / "dagster")) as instance:
        assert instance.get_run_by_id(abandoned.run_id).status == dg.DagsterRunStatus.FAILURE


def test_runs_of_the_living_and_of_other_hosts_are_left_alone():
    living = process_tags()
    host, pid, started = living["invertory/process"].rsplit(":", 2)
    elsewhere = living | {"invertory/process": f"not-{host}:{pid}:1"}
    reborn = living | {"invertory/process": f"{host}:{pid}:1{started}"}  # another of its number
    daemons = {"invertory/recipe": "toy"}
    with dg.DagsterInstance.ephemeral() as instance:
        runs = [begun(instance, tags) for tags in (living, elsewhere, daemons, reborn)]
        assert free_abandoned(instance) == [runs[-1]]
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
        assert [run.run_id for run in instance.get_runs(filters=failed)] == [runs[-1]]


@pytest.fixture
def killed(tmp_path) -> dict[str, str]:
    """Tags of a process that was killed, with another host's name; its file is still there."""
    code = f"""
import json, os, pathlib, signal, socket
socket.gethostname = lambda: "elsewhere"
from invertory.pipelines.processes.abandoned import living
with living(pathlib.Path({str(tmp_path)!r})) as tags:
    print(json.dumps(tags), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    return json.loads(done.stdout)


def test_a_killed_process_is_known_by_its_lock_whatever_its_host_name(tmp_path, killed):
    with living(tmp_path) as alive, dg.DagsterInstance.ephemeral() as instance:
        renamed = alive | {"invertory/process": "elsewhere:1:1"}
        runs = [begun(instance, tags) for tags in (renamed, killed)]
        assert free_abandoned(instance, tmp_path) == [runs[1]]
    assert list((tmp_path / "processes").glob("*.lock")) == []


def test_on_another_machine_a_free_lock_must_also_be_stale(tmp_path, killed):
    far = killed | {"invertory/kernel": "another"}
    path = tmp_path / "processes" / far["invertory/lock"].partition("/")[2]
    with dg.DagsterInstance.ephemeral() as instance:
        run = begun(instance, far)
        assert free_abandoned(instance, tmp_path) == []
        (tmp_path / "other").mkdir()
        assert free_abandoned(instance, tmp_path / "other") == []  # a home on another disk
        os.utime(path, (time.time() - 61, time.time() - 61))
        assert free_abandoned(instance, tmp_path) == [run]


def test_a_run_of_the_ui_ends_with_the_ui(tmp_path, killed, monkeypatch):
    with dg.DagsterInstance.ephemeral() as instance:
        queued = begun(instance, {"invertory/recipe": "toy"})
        lost = begun(instance, {"invertory/recipe": "toy"})
        served_by = f"{killed['invertory/lock']} {killed['invertory/kernel']}"
        monkeypatch.setenv("INVERTORY_SERVED_BY", served_by)
        tag_served(instance, instance.get_run_by_id(lost))
        with serving_runs(tmp_path):
            alive = begun(instance, {})
            tag_served(instance, instance.get_run_by_id(alive))
            assert free_abandoned(instance, tmp_path) == [lost]
        assert free_abandoned(instance, tmp_path) == [alive]
        assert instance.get_run_by_id(queued).status == dg.DagsterRunStatus.STARTED


def test_a_process_that_lives_touches_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("invertory.pipelines.processes.abandoned.BEAT_S", 0.05)
    with living(tmp_path):
        (path,) = (tmp_path / "processes").glob("*.lock")
        os.utime(path, (1e9, 1e9))
        time.sleep(0.5)
        assert path.stat().st_mtime > 1e9
    assert not path.exists()


def begun(instance: dg.DagsterInstance, tags: dict[str, str]) -> str:
    """The id of a run that has been started and has not ended."""
    run = instance.add_run(
        dg.DagsterRun(job_name="toy", status=dg.DagsterRunStatus.STARTED, tags=tags)
    )
    return run.run_id
