"""The whole chain on the toy generator: pictures, a classifier and a recipe, made on the spot."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import yaml
from PIL import Image

from benchmarks.chaos.classifier import onnx_mean
from invertory.generators.toy import ToyGenerator
from invertory.images import to_uint8
from invertory.pipelines.cli.main import main
from invertory.resources.tables import Store

G = ToyGenerator(resolution=32, frequencies=2)
Rows = dict[tuple[str, str], tuple[pa.Table, pa.Table, dict[str, str]]]


@pytest.fixture(scope="session", autouse=True)
def logs_that_leave_the_capture_open() -> None:
    """Dagster closes all log handlers, and absl's (MediaPipe, OpenVINO) its stream with itself: not
    the one in which pytest catches what tests write.
    """
    from absl import logging

    logging.get_absl_handler().python_handler.stream = sys.__stderr__


@pytest.fixture(scope="session")
def draw_pictures() -> Callable[..., list[Path]]:
    """draw_pictures(folder, number, first=0): PNGs of 64 px that the toy generator can make."""

    def draw(folder: Path, number: int, first: int = 0) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{i:03d}.png" for i in range(first, first + number)]
        for i, path in enumerate(paths, start=first):
            z = torch.randn(1, G.z_dim, generator=torch.Generator().manual_seed(i))
            w_plus = G.mapping(z)[:, None].expand(-1, G.num_ws, -1)
            (picture,) = to_uint8(G.synthesis(w_plus).clamp(-1, 1))
            Image.fromarray(picture).resize((64, 64), Image.Resampling.BICUBIC).save(path)
        return paths

    return draw


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file whose outputs are the means of red, green and blue."""
    path = tmp_path_factory.mktemp("classifier") / "mean.onnx"
    path.write_bytes(onnx_mean(32))
    return path


def scorer(classifier: Path, output: int) -> dict[str, Any]:
    return {
        "scorer": "onnx",
        "uri": str(classifier),
        "sha256": hashlib.sha256(classifier.read_bytes()).hexdigest(),
        "size_px": 32,
        "output": output,
    }


@pytest.fixture(scope="session")
def whole_recipe(classifier: Path) -> Callable[..., dict[str, Any]]:
    """whole_recipe(uri="pictures"): every stage from files to the exported set, in seconds."""

    def recipe(uri: str = "pictures") -> dict[str, Any]:
        boundary = {"num_samples": 400, "ratio": 0.5, "solver": "linear"}
        return {
            "name": "toy",
            "collection": {"uri": uri, "shard_size": 40},
            "limits": {"min_px": 16},
            "alignment": {"kind": "centre", "size_px": 32},
            "generator": {"name": "toy", "options": {"resolution": 32, "frequencies": 2}},
            "perceptual": {"name": "pixels"},
            "methods": {"projector": {"steps": 12, "w_samples": 256, "learning_rate": 0.1}},
            "attributes": {"red": scorer(classifier, 0), "green": scorer(classifier, 1)},
            "boundaries": {"red": boundary, "green": boundary},
            "edits": [{"attribute": "red", "steps": [-1.0, 1.0]}],
            "augmentation": {"method": "projector", "target": "red", "protected": "green"},
            "export": {"counts": "all"},
            "resources": {"device": "cpu", "batch_size": 8, "commit_rows": 8},
        }

    return recipe


@dataclass(frozen=True)
class Place:
    """A folder with a recipe, its pictures and its store; commands run in this process."""

    folder: Path

    @property
    def store(self) -> Store:
        return Store(os.environ["INVERTORY_STORE"], "toy")

    def tables(self, recipe: str) -> Store:
        return Store(os.environ["INVERTORY_STORE"], recipe)

    def write(self, recipe: dict[str, Any]) -> None:
        (self.folder / "toy.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))

    def invertory(self, *arguments: str) -> tuple[int, str, str]:
        """(exit code, output, errors) of a command."""
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main(arguments)
        return code, out.getvalue(), errors.getvalue()

    def json(self, *arguments: str) -> Any:
        """What a command tells a script; it must have done well."""
        code, out, errors = self.invertory(*arguments, "--json")
        assert code == 0, out + errors
        return json.loads(out)

    def run(self) -> Any:
        return self.json("run", "toy.yaml")

    def column(self, table: str, name: str) -> list[Any]:
        batches = self.store.read_all(table, [name])
        return [value for batch in batches for value in batch.column(name).to_pylist()]

    def num_rejects(self, table: str) -> int:
        store = self.store
        return sum(store.rejects(table, shard).num_rows for shard in store.shards(table))


def environment(folder: Path) -> dict[str, str]:
    """Where a command finds its things; locks of others on this host are not waited for."""
    (folder / "tmp").mkdir(exist_ok=True)
    names = {
        "INVERTORY_STORE": "store",
        "DAGSTER_HOME": "dagster",
        "INVERTORY_RECIPES": "recipes",
        "INVERTORY_CACHE": "cache",
        "TMPDIR": "tmp",
    }
    return {name: str(folder / path) for name, path in names.items()} | {"OMP_NUM_THREADS": "1"}


def work_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """`folder`, with a store and a Dagster home of its own."""
    monkeypatch.chdir(folder)
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "tmp"))  # it remembers another TMPDIR
    return Place(folder)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty folder to work in."""
    return work_in(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def open_place() -> Callable[[Path, pytest.MonkeyPatch], Place]:
    return work_in


@pytest.fixture(scope="session")
def environment_of() -> Callable[[Path], dict[str, str]]:
    return environment


@pytest.fixture(scope="session")
def read_tables() -> Callable[[Store], Rows]:
    """Rows, rejects and footer of every shard, but for what names the run and its times."""
    own = {"run_id", "elapsed_s", "created_utc"}

    def read(store: Store) -> Rows:
        return {
            (table, shard): (
                store.table(table, shard),
                store.rejects(table, shard),
                {k: v for k, v in (store.footer(table, shard) or {}).items() if k not in own},
            )
            for table in store.tables()
            for shard in store.shards(table)
        }

    return read
