"""The training loop: logs, resumption, refusals, with a network of one matrix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from invertory.networks import NETWORKS
from invertory.training.compute import Compute, TrainingImages
from invertory.training.data.portrait_batches import PortraitMix
from invertory.training.loop.train import NonFiniteError, train


class Matrix(nn.Module):
    def __init__(self, size: int = 3) -> None:
        super().__init__()
        self.config = {"size": size}
        self.weight = nn.Parameter(torch.eye(size))


@dataclass(frozen=True)
class MatrixConfig:
    rate: float = 0.1
    sizes: tuple[int, ...] = (3,)
    breaks_at: int = 10**9
    breaks: str = "loss"


class MatrixTraining:
    """Fits the matrix to noise; a second loss occurs every third step."""

    name = "matrix"
    batch_size = 4

    def __init__(self, config: MatrixConfig | None = None) -> None:
        self.config = config or MatrixConfig()
        self.matrix = Matrix()
        self.optimiser = torch.optim.Adam(self.matrix.parameters(), lr=self.config.rate)

    def step(self, step: int) -> dict[str, Tensor]:
        goal = torch.randn(3, 3, generator=Compute().rng(0, step))
        loss = (self.matrix.weight - goal).square().mean()
        if step == self.config.breaks_at and self.config.breaks == "loss":
            loss = loss * float("nan")
        self.optimiser.zero_grad()
        torch.autograd.backward(loss)
        self.optimiser.step()
        if step == self.config.breaks_at and self.config.breaks == "weight":
            self.matrix.weight.data[0, 0] = float("inf")
        every_third = {"third": torch.tensor(float(step))} if step % 3 == 0 else {}
        return {"loss": loss, **every_third}

    def evaluate(self) -> dict[str, float]:
        return {"norm": float(self.matrix.weight.detach().norm())}

    def sheet(self) -> Tensor | None:
        return torch.zeros(3, 8, 16)

    def state_dict(self) -> dict[str, Any]:
        return {"matrix": self.matrix.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.matrix.load_state_dict(state["matrix"])
        self.optimiser.load_state_dict(state["optimiser"])

    def networks(self) -> dict[str, nn.Module]:
        return {"matrix": self.matrix}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "matrix", Matrix)


EVERY = {"log_every": 8, "checkpoint_every": 16, "evaluate_every": 24}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class Stopped(Exception):  # noqa: N818 - what a kill does
    pass


def stop_at(images: int) -> Any:
    def progress(seen: int, total: int, values: Mapping[str, float]) -> None:
        if seen >= images:
            raise Stopped

    return progress


def test_a_training_leaves_networks_log_and_sheets(tmp_path: Path) -> None:
    training = MatrixTraining()
    assert train(training, tmp_path, images=46, **EVERY) == tmp_path
    tensors = load_file(tmp_path / "matrix.safetensors")
    assert torch.equal(tensors["weight"], training.matrix.weight)
    card = json.loads((tmp_path / "matrix.json").read_text())
    assert card["architecture"] == {"name": "matrix", "config": {"size": 3}}
    assert card["images_seen"] == 48  # whole batches
    assert card["settings"] == {"rate": 0.1, "sizes": [3], "breaks_at": 10**9, "breaks": "loss"}
    assert card["metrics"] == training.evaluate()
    assert [path.name for path in sorted((tmp_path / "sheets").iterdir())] == [
        "000000024.jpg",
        "000000048.jpg",
    ]


def test_a_line_of_the_log_is_the_mean_since_the_last(tmp_path: Path) -> None:
    train(MatrixTraining(), tmp_path, images=24, log_every=24)
    line, metrics = lines(tmp_path)
    assert line["images"] == metrics["images"] == 24
    assert line["third"] == (0 + 3) / 2  # of the steps that had it, among six
    assert set(metrics["metrics"]) == {"norm"}


@pytest.mark.parametrize("stopped_at", [8, 24, 40])
def test_a_stopped_training_reaches_the_same_weights(tmp_path: Path, stopped_at: int) -> None:
    undisturbed = MatrixTraining()
    train(undisturbed, tmp_path / "a", images=64, **EVERY)
    with pytest.raises(Stopped):
        train(MatrixTraining(), tmp_path / "b", images=64, progress=stop_at(stopped_at), **EVERY)
    resumed = MatrixTraining()
    train(resumed, tmp_path / "b", images=64, **EVERY)
    assert torch.equal(resumed.matrix.weight, undisturbed.matrix.weight)
    for line, expected in zip(lines(tmp_path / "b"), lines(tmp_path / "a"), strict=True):
        assert line.get("loss") == expected.get("loss")
        assert line["images"] == expected["images"]


class Unmeasurable(MatrixTraining):
    """Its evaluation fails."""

    def evaluate(self) -> dict[str, float]:
        raise MemoryError("no memory for the metrics")


@pytest.mark.parametrize("images", [24, 64])
def test_a_failing_evaluation_loses_nothing(tmp_path: Path, images: int) -> None:
    undisturbed = MatrixTraining()
    train(undisturbed, tmp_path / "a", images=images, **EVERY)
    with pytest.raises(MemoryError):
        train(Unmeasurable(), tmp_path / "b", images=images, **EVERY)
    state = torch.load(tmp_path / "b" / "state.pt", weights_only=True)
    assert state["steps"] == 6  # of the first evaluation, at 24 images
    assert not (tmp_path / "b" / "matrix.safetensors").exists()
    resumed = MatrixTraining()
    train(resumed, tmp_path / "b", images=images, **EVERY)
    assert torch.equal(resumed.matrix.weight, undisturbed.matrix.weight)
    assert (tmp_path / "b" / "matrix.safetensors").read_bytes() == (
        tmp_path / "a" / "matrix.safetensors"
    ).read_bytes()
    timeless = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in lines(tmp_path / name)]
        for name in "ab"
    ]
    assert timeless[0] == timeless[1]
    assert (tmp_path / "b" / "sheets" / "000000024.jpg").is_file()


class Seeing(MatrixTraining):
    """A training with images, and another set in a mix."""

    def __init__(self, images: np.ndarray, others: np.ndarray) -> None:
        super().__init__()
        self.images = TrainingImages(images, Compute())
        sets = {"others": others}
        self.mix = PortraitMix(sets, [1.0], held_out=1, compute=Compute())


def grey(level: int, num: int = 6, px: int = 4) -> np.ndarray:
    return np.full((num, px, px, 3), level, np.uint8)


def test_a_run_goes_on_over_the_same_images(tmp_path: Path) -> None:
    train(Seeing(grey(1), grey(2)), tmp_path, images=16, **EVERY)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert [told[:24] for told in state["data"]] == ["6 pictures of 4 x 4 px, "] * 2
    train(Seeing(grey(1), grey(2)), tmp_path, images=32, **EVERY)


@pytest.mark.parametrize(
    "given",
    [(grey(9), grey(2)), (grey(1), grey(9)), (grey(1, 7), grey(2)), (grey(1, 6, 5), grey(2))],
    ids=["others", "others mixed in", "more", "larger"],
)
def test_other_images_are_refused(tmp_path: Path, given: tuple[np.ndarray, np.ndarray]) -> None:
    train(Seeing(grey(1), grey(2)), tmp_path, images=16, **EVERY)
    with pytest.raises(ValueError, match=r"expected the data that .*, got .*: use the same imag"):
        train(Seeing(*given), tmp_path, images=32, **EVERY)


def test_a_state_that_does_not_say_its_data_is_gone_on_with(tmp_path: Path) -> None:
    train(Seeing(grey(1), grey(2)), tmp_path, images=16, **EVERY)
    path = tmp_path / "state.pt"
    state = torch.load(path, weights_only=True)
    del state["data"]  # as earlier versions left it
    torch.save(state, path)
    train(Seeing(grey(9), grey(2)), tmp_path, images=32, **EVERY)
    assert torch.load(path, weights_only=True)["data"]  # noted from here on


def test_half_a_line_of_the_log_is_dropped(tmp_path: Path) -> None:
    train(MatrixTraining(), tmp_path, images=16, **EVERY)
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"images": 16, "lo')
    train(MatrixTraining(), tmp_path, images=24, **EVERY)
    assert [line["images"] for line in lines(tmp_path)] == [8, 16, 16, 24, 24]


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    train(MatrixTraining(), tmp_path, images=16, **EVERY)
    before = (tmp_path / "state.pt").stat().st_mtime_ns
    train(MatrixTraining(), tmp_path, images=16, **EVERY)
    assert (tmp_path / "state.pt").stat().st_mtime_ns == before


@pytest.mark.parametrize("breaks", ["loss", "weight"])
def test_no_number_stops_and_keeps_the_last_state(tmp_path: Path, breaks: str) -> None:
    config = MatrixConfig(breaks_at=9, breaks=breaks)
    with pytest.raises(NonFiniteError, match=r"expected finite .* keeps the last good state"):
        train(MatrixTraining(config), tmp_path, images=64, **EVERY)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["steps"] == 8  # 32 images
    assert torch.isfinite(state["training"]["matrix"]["weight"]).all()


def test_no_number_replaces_no_network(tmp_path: Path) -> None:
    config = MatrixConfig(breaks_at=11, breaks="weight")  # at 48 images a measurement is due
    with pytest.raises(NonFiniteError, match="no finite /matrix/weight"):
        train(MatrixTraining(config), tmp_path, images=64, **EVERY)
    assert torch.isfinite(load_file(tmp_path / "matrix.safetensors")["weight"]).all()
    assert json.loads((tmp_path / "matrix.json").read_text())["images_seen"] == 24


def test_other_settings_are_refused(tmp_path: Path) -> None:
    train(MatrixTraining(), tmp_path, images=16, **EVERY)
    with pytest.raises(ValueError, match=r"expected .* of the config .*'rate': 0\.2.*another fold"):
        train(MatrixTraining(MatrixConfig(rate=0.2)), tmp_path, images=32, **EVERY)


def test_a_network_without_a_name_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(NETWORKS, "matrix")
    with pytest.raises(ValueError, match=r"got Matrix: name its class in"):
        train(MatrixTraining(), tmp_path, images=16)
    assert not (tmp_path / "log.jsonl").exists()
