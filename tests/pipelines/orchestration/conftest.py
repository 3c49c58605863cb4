"""A whole chain on the toy generator under Dagster, small enough to be run in seconds."""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from invertory.pipelines.assets import assets_of
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.intake import deal_new
from invertory.pipelines.definitions import definitions_of
from invertory.pipelines.partitions import partitions_name
from invertory.pipelines.processes.dagster_home import REPOSITORY_FOLDER
from invertory.pipelines.progress.reporting import Reporting
from invertory.pipelines.recipe.recipe import Recipe, load_recipe
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.registry import chain_of
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore
from invertory.resources.tables import Store, Tables

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SHARD = "shard-000001"


class Warmth(torch.nn.Module):
    """[N, 3, H, W] in [0, 1] => [N, 2]: how red rather than blue, how bright."""

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        mean = pictures.mean(dim=(2, 3))
        return torch.stack([mean[:, 0] - mean[:, 2], mean.mean(dim=1)], dim=1)


def write_pictures(folder: Path, names: str) -> None:
    """A smooth coloured picture of 24 x 20 px for each letter."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        corners = np.random.default_rng(ord(name)).integers(0, 255, (2, 2, 3), dtype=np.uint8)
        picture = Image.fromarray(corners).resize((24, 20), Image.Resampling.BILINEAR)
        picture.save(folder / f"{name}.png")


def scored(folder: Path) -> dict[str, Any]:
    """Parts of a recipe that goes on to the export, by a TorchScript scorer in `folder`."""
    path = folder / "warmth.pt"
    if not path.exists():
        with warnings.catch_warnings():  # deprecated, and what users have
            warnings.simplefilter("ignore", FutureWarning)
            torch.jit.script(Warmth()).save(str(path))
    about = {
        "scorer": "torchscript",
        "uri": str(path),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "size_px": 16,
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
    }
    fit = {"fit": "samples", "num_samples": 40, "ratio": 0.3, "solver": "linear"}
    method = "image2stylegan"
    return {
        "attributes": {"warm": {**about, "output": 0}, "bright": {**about, "output": 1}},
        "boundaries": {"warm": fit, "bright": fit},
        "edits": [{"attribute": "warm", "steps": [-1.0, 1.0]}],
        "augmentation": {"method": method, "target": "bright", "protected": "warm"},
        "export": {"counts": "all"},
    }


def recipe_of(folder: Path, **changes: Any) -> Recipe:
    """A recipe on the pictures in `folder/pictures`, without edits unless `changes` has them."""
    parts = {
        "name": "toy",
        "collection": {"uri": str(folder / "pictures"), "shard_size": 4},
        "limits": {"min_px": 8},
        "alignment": {"kind": "centre", "size_px": 16},
        "generator": {"name": "toy", "options": {"resolution": 16, "frequencies": 2}},
        "perceptual": {"name": "pixels"},
        "methods": {"image2stylegan": {"steps": 2}},
        "checks": {"min_psnr_db": 0.0},
        "sensor": {"settle_s": 0.0},
        "resources": {"device": "cpu", "batch_size": 8, "retries": 1},
    }
    path = folder / "recipes" / "toy.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(yaml.safe_dump({**parts, **changes}, sort_keys=False))
    return load_recipe(path, ModelStore())


@dataclass
class World:
    """A recipe with a store, a Dagster instance and devices of its own."""

    folder: Path
    recipe: Recipe
    instance: dg.DagsterInstance

    @property
    def chain(self) -> Chain:
        return chain_of(self.recipe, self.resources["models"])

    @property
    def store(self) -> Store:
        store: Store = self.resources["tables"].store(self.recipe.name)
        return store

    @property
    def resources(self) -> dict[str, Any]:
        return {
            "tables": Tables(root=str(self.folder / "store")),
            "models": ModelStore(cache=str(self.folder / "models")),
            "gpu": Gpu(device="cpu", lock_dir=str(self.folder / "locks")),
            "reporting": Reporting(),
        }

    @property
    def definitions(self) -> dg.Definitions:
        """What Dagster serves of the recipe, with this world's resources."""
        shared = dg.Definitions(resources=self.resources, executor=dg.in_process_executor)
        return dg.Definitions.merge(shared, definitions_of(self.recipe, self.resources["models"]))

    def key(self, table: str) -> dg.AssetKey:
        return dg.AssetKey(self.chain.stage(table).asset_path)

    def change(self, **changes: Any) -> None:
        """From here on a recipe with these parts."""
        self.recipe = recipe_of(self.folder, **changes)

    def scored(self) -> dict[str, Any]:
        """Parts of a recipe that goes on to the export."""
        return scored(self.folder)

    def add_pictures(self, names: str) -> None:
        write_pictures(self.folder / "pictures", names)

    def deal(self) -> list[str]:
        """New shards of the pictures, known to Dagster."""
        source = Collection(self.recipe, self.resources["models"])
        fresh = deal_new(self.store, source, self.recipe.collection.shard_size)
        name = partitions_name(self.recipe.name)
        self.instance.add_dynamic_partitions(name, self.store.shards("entries"))
        return fresh

    def run(
        self, *tables: str, shard: str | None = SHARD, **resources: Any
    ) -> dg.ExecuteInProcessResult:
        """One run of these tables."""
        return dg.materialize(
            assets_of(self.recipe, self.chain, {}),
            selection=[self.key(table) for table in tables],
            partition_key=shard,
            instance=self.instance,
            resources=self.resources | resources,
            run_config=QUIET,
            raise_on_error=False,
        )

    def run_all(self) -> None:
        """Every table of every shard, phase by phase; a table without shards runs once."""
        for phase in self.chain.phases():
            is_sharded = any(stage.is_sharded for stage in phase)
            tables = [stage.table for stage in phase]
            for shard in self.store.shards("entries") if is_sharded else [None]:
                done = self.run(*tables, shard=shard)
                assert done.success, self.errors(done)
                tables = [stage.table for stage in phase if stage.is_sharded]

    def errors(self, done: dg.ExecuteInProcessResult) -> list[str]:
        """What the failed steps of a run said."""
        failures = (event.step_failure_data.error for event in done.get_step_failure_events())
        found = (error.cause or error for error in failures if error)
        return [" ".join(error.message.split()) for error in found]

    def event(self, table: str, shard: str | None = None) -> dg.AssetMaterialization:
        """The latest materialisation of a table, or of one shard of it."""
        limits = dg.AssetRecordsFilter(self.key(table), [shard] if shard else None)
        (record,) = self.instance.fetch_materializations(limits, limit=1).records
        assert record.asset_materialization is not None
        return record.asset_materialization


def on_disk(folder: str) -> dg.DagsterInstance:
    shutil.copy(REPOSITORY_FOLDER / "dagster.yaml", folder)
    return dg.DagsterInstance.local_temp(folder)


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """make_world("abcde", **parts) => a world with these pictures, not dealt yet.

    `is_scored=True` stands for the parts that lead to the export; `is_kept=True` for an instance
    on disk under the repository's dagster.yaml, as ticks want it.
    """

    def make(
        names: str = "abcde", *, is_scored: bool = False, is_kept: bool = False, **changes: Any
    ) -> World:
        write_pictures(tmp_path / "pictures", names)
        parts = scored(tmp_path) if is_scored else {}
        recipe = recipe_of(tmp_path, **{**parts, **changes})
        open_instance = on_disk if is_kept else dg.DagsterInstance.ephemeral
        return World(tmp_path, recipe, open_instance(str(tmp_path)))

    return make


@pytest.fixture(scope="session")
def make_whole() -> Callable[..., World]:
    """make_whole(folder) => a world in which everything of two shards is made."""

    def make(folder: Path, *, is_kept: bool = False) -> World:
        write_pictures(folder / "pictures", "abcdef")
        recipe = recipe_of(folder, **scored(folder))
        open_instance = on_disk if is_kept else dg.DagsterInstance.ephemeral
        world = World(folder, recipe, open_instance(str(folder)))
        world.deal()
        world.run_all()
        return world

    return make


@pytest.fixture(scope="session")
def whole(make_whole: Callable[..., World], tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world in which everything of two shards is made; not to be changed."""
    return make_whole(tmp_path_factory.mktemp("whole"))
