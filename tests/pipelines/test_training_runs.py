"""A training from its file to networks with cards: once, after a stop, in the package."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from invertory.classifier import AttributeClassifier
from pipelines import training_cards
from pipelines.networks import WeightsError
from pipelines.progress import Silent
from pipelines.tally import Tally
from pipelines.trainers import TRAINERS
from pipelines.training_cards import bundle
from pipelines.training_data import images
from pipelines.training_parts import Images
from pipelines.training_runs import Trained, run_training
from pipelines.trainings import TrainingSpec, load_training
from resources import models as model_store
from resources.checkpoints import load_network
from resources.gpu import Gpu
from resources.models import ModelStore

TINY: dict[str, Any] = {
    "name": "judge",
    "trainer": "classifier",
    "data": {"portraits": {"num": 48, "size_px": 32}},
    "settings": {"held_out": 8, "widths": [4, 8]},
    "budget": {
        "images": 128,
        "batch_size": 8,
        "checkpoint_every": 32,
        "evaluate_every": 64,
        "log_every": 16,
    },
    "resources": {"device": "cpu", "precision": "float32", "processes": 1},
}


class Stopped(Silent):
    """A progress that stops the work as Ctrl-C does, once `after` pictures were trained on."""

    def __init__(self, after: int) -> None:
        self.after = after

    @contextlib.contextmanager
    def stage(self, name: str, total: int, start: int = 0) -> Iterator[Any]:
        outer = self

        class Bar(Tally):
            def advance(self, rows: int, rejects: int = 0) -> None:
                super().advance(rows, rejects)
                if name.startswith("trains") and self.done >= outer.after:
                    raise KeyboardInterrupt

        yield Bar(name, total, start=start)


class Heard(Silent):
    """A progress that remembers what it was told: stage, where it began, where it ended."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[int, int]] = {}

    @contextlib.contextmanager
    def stage(self, name: str, total: int, start: int = 0) -> Iterator[Any]:
        tally = Tally(name, total, start=start)
        yield tally
        self.stages[name] = (start, tally.done)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a model store, so that portraits are drawn once for all tests."""
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def store(tmp_path: Path, drawn: Path) -> ModelStore:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "data").symlink_to(drawn)
    return ModelStore(cache=str(tmp_path / "cache"))


@pytest.fixture
def spec_of(tmp_path: Path) -> Callable[..., TrainingSpec]:
    def made(**changes: Any) -> TrainingSpec:
        path = tmp_path / "judge.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}))
        return load_training(path)

    return made


@pytest.fixture
def run(tmp_path: Path, store: ModelStore) -> Callable[..., Trained]:
    def ran(spec: TrainingSpec, progress: Any = None, **options: Any) -> Trained:
        gpu = Gpu(device="cpu", lock_dir=str(tmp_path / "locks"))
        return run_training(spec, store, gpu, progress or Silent(), **options)

    return ran


def weights(found: Trained, name: str = "judge") -> dict[str, torch.Tensor]:
    return load_file(found.networks_folder / f"{name}.safetensors")


def are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def test_a_training_leaves_a_network_with_an_address_and_a_whole_card(spec_of, run, store):
    heard = Heard()
    found = run(spec_of(), heard)
    network = load_network(store.fetch("trained://judge"))
    assert isinstance(network, AttributeClassifier)
    card = store.told("trained://judge")
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


def test_what_is_done_is_not_done_again(spec_of, run):
    first = run(spec_of())
    before = (first.networks_folder / "judge.safetensors").stat().st_mtime_ns
    heard = Heard()
    again = run(spec_of(), heard)
    assert (first.is_up_to_date, again.is_up_to_date) == (False, True)
    assert again.cards == first.cards
    assert heard.stages == {}
    assert (again.networks_folder / "judge.safetensors").stat().st_mtime_ns == before


def test_a_run_that_was_stopped_goes_on_to_the_very_same_weights(spec_of, run, tmp_path):
    whole = run(spec_of(), folder=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(spec_of(), Stopped(after=80))
    heard = Heard()
    resumed = run(spec_of(), heard)
    assert heard.stages["trains judge"] == (64, 128)
    assert are_equal(weights(resumed), weights(whole))
    lines = [json.loads(line) for line in (resumed.folder / "log.jsonl").read_text().splitlines()]
    seen = [line["images"] for line in lines if "metrics" not in line]
    assert seen == list(range(16, 129, 16))


def test_a_network_whose_card_was_cut_off_is_published_again(spec_of, run, store):
    found = run(spec_of())
    expected = weights(found)
    (found.networks_folder / "judge.json").unlink()
    heard = Heard()
    run(spec_of(), heard)
    assert heard.stages["trains judge"] == (128, 128)
    assert are_equal(load_file(store.fetch("trained://judge")), expected)


def test_other_settings_are_another_run(spec_of, run):
    first = run(spec_of())
    budget = {**TINY["budget"], "images": 64}
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
    with pytest.raises(ValueError, match=r"asked for otherwise .* name another folder"):
        run(changed, folder=tmp_path / "here")


def test_two_runs_in_one_folder_are_one_too_many(spec_of, run, tmp_path):
    (tmp_path / "here").mkdir()
    with (tmp_path / "here" / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RuntimeError, match="expected nobody at work in"):
            run(spec_of(), folder=tmp_path / "here")


def test_a_missing_network_is_told_before_any_work(run, tmp_path, store):
    text = {
        "name": "encoder",
        "trainer": "conventional_encoder",
        "data": {"pairs": {"num": 64}},
        "uses": {"generator": "trained://painter"},
        "budget": {"images": 64},
    }
    (tmp_path / "e.yaml").write_text(yaml.safe_dump(text))
    heard = Heard()
    with pytest.raises(WeightsError, match=r"the generator of encoder .*`invertory train painter`"):
        run(load_training(tmp_path / "e.yaml"), heard)
    assert heard.stages == {}
    assert not (store.folder() / "trainings").exists()


SMALL = {"channels": [8, 8, 8, 8], "discriminator_channels": [8, 8, 8, 8]}
CHAIN: dict[str, dict[str, Any]] = {
    "parser": {"trainer": "parser", "settings": {"held_out": 8, "widths": [4, 8, 8]}},
    "points": {"trainer": "landmarks", "settings": {"held_out": 8, "widths": [4, 8, 8]}},
    "painter": {
        "trainer": "stylegan2",
        "uses": {"classifier": "trained://judge"},
        "gives": {"generator": "painter", "discriminator": "critic"},
        "settings": SMALL
        | {"encoder_channels": [8, 8, 8, 8], "w_dim": 8, "held_out": 8}
        | {"autoencoder_images": 8, "joint_images": 8},
    },
    "encoder": {
        "trainer": "conventional_encoder",
        "data": {"pairs": {"num": 32, "size_px": 32}},
        "uses": {"generator": "trained://painter", "perceptual": "trained://judge"},
        "settings": {"held_out": 8, "channels": [4, 8, 8, 8], "hidden": 8, "image_weight": 1.0},
    },
    "guided": {
        "trainer": "domain_guided_encoder",
        "uses": {
            "generator": "trained://painter",
            "discriminator": "trained://critic",
            "encoder": "trained://encoder",
            "perceptual": "pixels",
        },
        "settings": {"held_out": 8},
    },
    "hardness": {
        "trainer": "invertibility",
        "uses": {
            "generator": "trained://painter",
            "encoder": "trained://guided",
            "perceptual": "pixels",
        },
        "settings": {
            "num": 12,
            "held_out": 4,
            "widths": [4, 8],
            "inverting": {"steps": 1, "w_samples": 32},
        },
    },
    "aligned": {
        "trainer": "samm",
        "uses": {
            "generator": "trained://painter",
            "encoder": "trained://guided",
            "discriminator": "trained://critic",
            "classifier": "trained://judge",
            "perceptual": "pixels",
        },
        "settings": {"held_out": 8, "num_levels": 2},
    },
    **{
        family: {
            "trainer": family,
            "uses": {"generator": "trained://painter", "perceptual": "pixels"},
            "settings": {
                "held_out": 8,
                "widths": [4, 8, 8, 8, 8],
                "style_width": 8,
                "w_samples": 64,
            },
        }
        for family in ("psp", "e4e", "restyle")
    },
    "layered": {
        "trainer": "sam_encoder",
        "uses": {
            "generator": "trained://painter",
            "encoder": "trained://guided",
            "perceptual": "pixels",
        },
        "settings": {"held_out": 4, "measured": 4, "hidden": 8, "depth": 1, "w_samples": 64},
    },
    "twins": {
        "trainer": "invgan",
        "uses": {"classifier": "trained://judge"},
        "gives": {"generator": "twins", "invgan": "twins_encoder"},
        "settings": SMALL | {"w_dim": 8, "held_out": 8, "start_images": 8},
    },
    "warm_twins": {  # painter and critic, made invertible
        "trainer": "invgan",
        "uses": {"generator": "trained://painter", "discriminator": "trained://critic"},
        "gives": {"generator": "warm_twins", "invgan": "warm_twins_encoder"},
        "settings": {"held_out": 8, "start_images": 8},
    },
    "link": {
        "trainer": "linknet",
        "data": None,
        "uses": {"generator": "trained://painter", "classifier": "trained://judge"},
        "settings": {"num_fitted": 64, "num_held_out": 16, "min_share": 0.0},
    },
}


def test_every_trainer_makes_its_network_of_what_those_before_it_made(spec_of, run, store):
    run(spec_of())
    for name, about in CHAIN.items():
        budget = {**TINY["budget"], "images": 24}
        spec = spec_of(**{"name": name, "settings": {}, "budget": budget, **about})
        found = run(spec)
        for made in found.cards.values():
            assert made["float16_error"] < 5e-3, made["name"]
            load_network(store.fetch(f"trained://{made['name']}"))
            of_none = ("classifier", "generator", "landmarks", "parser")
            is_of_none = made["kind"] in of_none
            wanted = name if made["kind"] == "invgan" else None if is_of_none else "painter"
            assert made.get("generator") == wanted
    assert {spec["trainer"] for spec in (TINY, *CHAIN.values())} == set(TRAINERS)


def test_bundled_weights_are_half_as_large_and_say_what_that_costs(
    spec_of, run, tmp_path, monkeypatch
):
    found = run(spec_of())
    monkeypatch.setattr(model_store, "BUNDLED", tmp_path / "bundled")
    cards = bundle(found.cards, found.networks_folder)
    path = ModelStore().fetch("bundled://judge")
    halves = load_file(path)
    assert {t.dtype for t in halves.values() if t.is_floating_point()} == {torch.float16}
    assert cards["judge"]["source"] == "bundled://judge"
    assert cards["judge"]["dtype"] == "float16"
    assert cards["judge"]["sha256"] != found.cards["judge"]["sha256"]
    network: Any = load_network(path)
    trained: Any = load_network(found.networks_folder / "judge.safetensors")
    x = torch.linspace(-1, 1, 3 * 32 * 32).view(1, 3, 32, 32)
    assert torch.allclose(network(x), trained(x), atol=0.02)


def test_weights_that_half_precision_would_spoil_are_bundled_in_full(
    spec_of, run, tmp_path, monkeypatch
):
    found = run(spec_of())
    monkeypatch.setattr(model_store, "BUNDLED", tmp_path / "bundled")
    card = found.cards["judge"] | {"float16_error": 0.1}
    cards = bundle({"judge": card}, found.networks_folder)
    assert cards["judge"]["dtype"] == "float32"
    assert are_equal(load_file(tmp_path / "bundled" / "judge.safetensors"), weights(found))


def test_a_package_that_would_grow_too_large_is_refused(spec_of, run, tmp_path, monkeypatch):
    found = run(spec_of())
    monkeypatch.setattr(model_store, "BUNDLED", tmp_path / "bundled")
    monkeypatch.setattr(training_cards, "MAX_BUNDLED_BYTES", 1000)
    with pytest.raises(ValueError, match=r"at most 0 MB together, got .* train a smaller network"):
        bundle(found.cards, found.networks_folder)
    assert not (tmp_path / "bundled").exists()


def test_ones_own_pictures_are_cropped_once_and_broken_ones_left_out(
    tmp_path, store, draw_pictures
):
    draw_pictures(tmp_path / "mine", 70)
    (tmp_path / "mine" / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "mine" / "notes.txt").write_text("no picture")
    Image.new("RGB", (300, 100)).save(tmp_path / "mine" / "wide.png")
    how = Images.model_validate({
        "uri": str(tmp_path / "mine"), "alignment": {"kind": "centre", "size_px": 16}})  # fmt: skip
    heard = Heard()
    found = images(how, tmp_path / "data", store, heard)
    assert found.shape == (71, 16, 16, 3)
    assert heard.stages["crops images"] == (0, 73)
    draw_pictures(tmp_path / "mine", 2, first=100)
    again = images(how, tmp_path / "data", store, Heard())  # a run keeps what it began with
    assert (again == found).all()


def test_a_folder_without_pictures_is_told(tmp_path, store):
    (tmp_path / "mine").mkdir()
    how = Images.model_validate({"uri": str(tmp_path / "mine")})
    with pytest.raises(ValueError, match=r"expected pictures in .* got none that gives a crop"):
        images(how, tmp_path / "data", store, Silent())
