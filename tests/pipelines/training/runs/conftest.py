"""A training of seconds, run into a store of its own, and what it tells while it runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from invertory.pipelines.progress.display import Silent
from invertory.pipelines.progress.tally import Tally
from invertory.pipelines.training.runs import Trained, run_training
from invertory.pipelines.training.training import TrainingSpec, load_training
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore

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
def tiny() -> dict[str, Any]:
    return TINY


@pytest.fixture(scope="session")
def listening() -> type[Heard]:
    return Heard


@pytest.fixture(scope="session")
def stopping() -> type[Stopped]:
    return Stopped


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


@pytest.fixture(scope="session")
def weights_of() -> Callable[..., dict[str, torch.Tensor]]:
    def weights(found: Trained, name: str = "judge") -> dict[str, torch.Tensor]:
        return load_file(found.networks_folder / f"{name}.safetensors")

    return weights


@pytest.fixture(scope="session")
def are_equal() -> Callable[..., bool]:
    def compared(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
        return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)

    return compared
