"""`invertory train`: its output, its exit codes, and resuming after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from safetensors.torch import load_file

from invertory.resources import models as model_store

JUDGE: dict[str, Any] = {
    "name": "judge",
    "description": "Scores small portraits.",
    "trainer": "classifier",
    "data": {"portraits": {"num": 24, "size_px": 32}},
    "settings": {"held_out": 4, "widths": [4, 8]},
    "budget": {
        "images": 64,
        "batch_size": 8,
        "checkpoint_every": 8,
        "evaluate_every": 64,
        "log_every": 8,
    },
    "resources": {"device": "cpu", "precision": "float32", "processes": 1},
}
LINKNET: dict[str, Any] = {
    "name": "link",
    "trainer": "linknet",
    "uses": {"generator": "toy", "classifier": "trained://judge"},
    "budget": {"images": 64},
}


@pytest.fixture
def trainings(place, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder: Path = place.folder / "trainings"
    folder.mkdir()
    for spec in (JUDGE, LINKNET):
        (folder / f"{spec['name']}.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    monkeypatch.setenv("INVERTORY_TRAININGS", str(folder))
    return folder


def test_a_training_is_run_listed_shown_bundled_and_seen_by_dagster(place, trainings, monkeypatch):
    monkeypatch.setattr(model_store, "BUNDLED", place.folder / "bundled")
    told = place.json("train", "judge")
    assert (told["training"], told["is_up_to_date"]) == ("judge", False)
    assert told["cards"]["judge"]["images_seen"] == 64
    (row, other) = place.json("train", "--list")
    assert (row["training"], row["is_trained"], row["is_bundled"]) == ("judge", True, False)
    assert (other["data"], other["is_trained"]) == ("none", False)
    assert place.json("models", "show", "judge")["quality"] == told["cards"]["judge"]["quality"]
    code, out, _ = place.invertory("train", "judge", "--bundle")
    assert code == 0
    assert "Up to date" in out
    assert "bundled://judge" in out
    assert (place.folder / "bundled" / "judge.safetensors").is_file()
    with dg.DagsterInstance.get() as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey(["models", "judge"]))


def test_options_change_the_file_and_a_folder_keeps_all(place, trainings):
    told = place.json("train", str(trainings / "judge.yaml"), "--images", "16", "--folder", "here")
    assert told["cards"]["judge"]["images_seen"] == 16
    assert told["cards"]["judge"]["command"] == "invertory train judge --images 16"
    assert sorted(path.name for path in (place.folder / "here" / "networks").iterdir()) == [
        "judge.json",
        "judge.safetensors",
    ]
    assert not place.json("train", "--list")[0]["is_trained"]


def test_wrong_usage_has_exit_code_2(place, trainings):
    code, _, errors = place.invertory("train", "jugde")
    assert (code, "no such training; there are judge, link" in errors) == (2, True)
    code, _, errors = place.invertory("train", "judge", "--images", "0")
    assert (code, "budget.images: expected 1 or more, got 0" in errors) == (2, True)
    code, _, errors = place.invertory("train", "judge", "--use", "generator=toy")
    assert (code, "unknown key 'generator' in uses" in errors) == (2, True)
    code, _, errors = place.invertory("train", "judge", "--device", "gpu")
    assert (code, "expected 'auto', 'cpu'" in errors) == (2, True)


def test_a_missing_network_has_exit_code_4_and_the_command_that_makes_it(place, trainings):
    code, _, errors = place.invertory("train", "link")
    assert code == 4
    assert "the classifier of link is unavailable" in errors
    assert "`invertory train judge`" in errors
    code, _, errors = place.invertory("train", "link", "--use", "classifier=nowhere.safetensors")
    assert (code, "expected a file at nowhere.safetensors" in errors) == (4, True)


def test_a_folder_of_another_run_has_exit_code_1(place, trainings):
    assert place.invertory("train", "judge", "--images", "8", "--folder", "here")[0] == 0
    code, _, errors = place.invertory("train", "judge", "--images", "16", "--folder", "here")
    assert code == 1
    assert "name another folder" in errors


def start(place: Any, environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "invertory.pipelines.cli.main",
            "train",
            "judge",
            "--json",
            *options,
        ],
        cwd=place.folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
    )


def stopped(process: subprocess.Popen[str], state: Path, with_signal: int) -> int:
    """Exit code of a run that gets the signal after it has saved a state."""
    before = state.stat().st_mtime_ns if state.is_file() else 0
    until = time.monotonic() + 240
    while not (state.is_file() and state.stat().st_mtime_ns > before):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(with_signal)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.slow
def test_a_killed_and_interrupted_run_resumes_to_the_same_weights(place, trainings, environment_of):
    long = {**JUDGE, "budget": {**JUDGE["budget"], "images": 800, "evaluate_every": 800}}
    (trainings / "judge.yaml").write_text(yaml.safe_dump(long))
    state = place.folder / "killed" / "state.pt"
    codes = [
        stopped(start(place, environment_of(place.folder), "--folder", "killed"), state, sent)
        for sent in (signal.SIGKILL, signal.SIGINT)
    ]
    assert codes == [-signal.SIGKILL, 130]
    found = [place.json("train", "judge", "--folder", name) for name in ("killed", "alone")]
    assert not found[0]["is_up_to_date"]
    one, other = (load_file(Path(f["networks_folder"]) / "judge.safetensors") for f in found)
    assert all((one[name] == other[name]).all() for name in other)
    lines = (place.folder / "killed" / "log.jsonl").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    seen = [line["images"] for line in log if "metrics" not in line]
    assert seen == list(range(8, 801, 8))
