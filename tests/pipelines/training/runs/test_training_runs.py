"""A training from its file to networks with cards: once, after a stop, in a folder of its own."""

from __future__ import annotations

import fcntl
import json
import os
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from invertory.networks.classifier import AttributeClassifier
from invertory.pipelines.networks.resolve import WeightsError
from invertory.pipelines.training.training import load_training
from invertory.resources.checkpoints import load_network


def test_a_training_leaves_a_network_with_an_address_and_a_whole_card(
    spec_of, run, store, listening
):
    heard = listening()
    found = run(spec_of(), heard)
    network = load_network(store.fetch("trained://judge"))
    assert isinstance(network, AttributeClassifier)
    card = store.full_card("trained://judge")
    assert card["command"] == "invertory train judge --images 128"
    assert (card["kind"], card["images_seen"], card["licence"]) == ("classifier", 128, "Apache-2.0")
    assert card["trained_on"] == {"device": "cpu", "precision": "float32"}
    assert card["data"] == {"portraits": [_set_as_told()]}
    assert 0 < card["quality"]["accuracy"] <= 1
    assert 0 < card["float16_error"] < 5e-3
    assert card["settings"]["widths"] == [4, 8]
    assert (found.folder / "log.jsonl").is_file()
    assert heard.stages["trains judge"] == (0, 128)
    assert heard.stages["draws portraits"][1] == 48


def _set_as_told() -> dict[str, Any]:
    return {
        "name": "portraits",
        "num": 48,
        "size_px": 32,
        "seed": 0,
        "world": {},
        "share": 1.0,
    }


def test_what_is_done_is_not_done_again(spec_of, run, listening):
    first = run(spec_of())
    before = (first.networks_folder / "judge.safetensors").stat().st_mtime_ns
    heard = listening()
    again = run(spec_of(), heard)
    assert (first.is_up_to_date, again.is_up_to_date) == (False, True)
    assert again.cards == first.cards
    assert heard.stages == {}
    assert (again.networks_folder / "judge.safetensors").stat().st_mtime_ns == before


def test_a_run_that_was_stopped_goes_on_to_the_very_same_weights(
    spec_of, run, tmp_path, listening, stopping, weights_of, are_equal
):
    whole = run(spec_of(), folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(spec_of(), stopping(after=80))
    heard = listening()
    resumed = run(spec_of(), heard)
    assert heard.stages["trains judge"] == (64, 128)
    assert are_equal(weights_of(resumed), weights_of(whole))
    lines = [json.loads(line) for line in (resumed.folder / "log.jsonl").read_text().splitlines()]
    seen = [line["images"] for line in lines if "metrics" not in line]
    assert seen == list(range(16, 129, 16))


def test_a_network_whose_card_was_cut_off_is_published_again(
    spec_of, run, store, listening, weights_of, are_equal
):
    found = run(spec_of())
    expected = weights_of(found)
    (found.networks_folder / "judge.json").unlink()
    heard = listening()
    run(spec_of(), heard)
    assert heard.stages["trains judge"] == (128, 128)
    assert are_equal(load_file(store.fetch("trained://judge")), expected)


def test_other_settings_are_another_run(spec_of, run, tiny):
    first = run(spec_of())
    budget = {**tiny["budget"], "images": 64}
    other = run(spec_of(budget=budget))  # whose learning rate falls over 64 images
    assert other.folder != first.folder
    assert other.cards["judge"]["images_seen"] == 64


def test_with_a_folder_nothing_else_is_touched(spec_of, run, store, tmp_path):
    found = run(spec_of(), folder=tmp_path / "here")
    assert found.networks_folder == tmp_path / "here" / "networks"
    assert isinstance(load_network(found.networks_folder / "judge.safetensors"), torch.nn.Module)
    with pytest.raises(FileNotFoundError, match="`invertory train judge`"):
        store.fetch("trained://judge")


def test_a_folder_of_another_run_is_refused(spec_of, run, tmp_path):
    run(spec_of(), folder=tmp_path / "here")
    changed = spec_of(settings={"held_out": 8, "widths": [4, 4]})
    with pytest.raises(ValueError, match=r"with other settings, data .* name another folder"):
        run(changed, folder=tmp_path / "here")


def test_two_runs_in_one_folder_are_one_too_many(spec_of, run, tmp_path):
    (tmp_path / "here").mkdir()
    with (tmp_path / "here" / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match=rf"expected no other run in .*{os.getpid()}"):
            run(spec_of(), folder=tmp_path / "here")


def test_a_missing_network_is_told_before_any_work(run, tmp_path, store, listening):
    text = {
        "name": "encoder",
        "trainer": "conventional_encoder",
        "data": {"pairs": {"num": 64}},
        "uses": {"generator": "trained://painter"},
        "budget": {"images": 64},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(text))
    heard = listening()
    with pytest.raises(WeightsError, match=r"the generator of encoder .*`invertory train painter`"):
        run(load_training(tmp_path / "e.yaml"), heard)
    assert heard.stages == {}
    assert not (store.folder() / "trainings").exists()
