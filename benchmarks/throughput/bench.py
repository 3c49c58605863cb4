"""A recipe with its networks on the device, its images, its own store, and a clock."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import torch

from invertory.ops.invert import Invert
from invertory.ops.schemas import REJECTS
from invertory.pipelines.networks.load import (
    load_generator,
    load_method,
    load_method_networks,
    load_perceptual,
    on,
)
from invertory.pipelines.progress.display import Silent
from invertory.pipelines.recipe.recipe import Recipe
from invertory.pipelines.tables.registry import chain_of
from invertory.pipelines.tables.stage_run import StageRun
from invertory.portraits import draw, render
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore
from invertory.resources.tables import Store

SHARD = "shard-000001"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def write_portraits(folder: Path, number: int, size_px: int) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for i in range(number):
        Image.fromarray(render(draw(i), size_px).image).save(folder / f"{i:06d}.png")


def recipe_of(args: argparse.Namespace, images: Path, batch: int) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "throughput",
            "collection": {"uri": str(images), "shard_size": args.num},
            "limits": {"min_px": 16},
            "alignment": {"kind": "centre", "size_px": args.size_px},
            "generator": {"name": args.generator},
            "perceptual": {"name": args.perceptual},
            "methods": {args.method: {}},
            "resources": {
                "device": args.device,
                "batch_size": batch,
                "commit_rows": max(64, batch),
                "precision": args.precision,
            },
        }
    )


@dataclass(frozen=True)
class Bench:
    """A recipe, its networks on the device, and its images."""

    recipe: Recipe
    models: ModelStore
    device: torch.device
    folder: Path
    clock: Callable[[], float]  # in seconds

    @property
    def batch_size(self) -> int:
        return self.recipe.resources.batch_size

    @property
    def name(self) -> str:
        return next(iter(self.recipe.methods))

    @cached_property
    def invert(self) -> Invert:
        networks = load_method_networks(self.recipe, self.name, self.models)
        return Invert(
            method=load_method(self.recipe, self.name),
            generator=on(load_generator(self.recipe, self.models), self.device),
            perceptual=on(load_perceptual(self.recipe, self.models), self.device),
            networks={kind: on(network, self.device) for kind, network in networks.items()},
            device=self.device,
            batch_size=self.batch_size,
        )

    @property
    def store(self) -> Store:
        return Store(str(self.folder / "store"), f"batch_{self.batch_size}")

    def publish(self, store: Store, *tables: str) -> None:
        """Publish the tables one after another, as the assets do."""
        chain = chain_of(self.recipe, self.models)
        for table in tables:
            stage = chain.stage(table)
            run = StageRun(self.recipe, stage, self.models, Silent(), self._gpu(stage.name))
            plan = stage.page.plan(run, store, SHARD)
            store.publish(
                table,
                SHARD,
                schema=plan.schema,
                key="benchmark",
                footer={},
                chunks=plan.chunks,
                rejects_schema=REJECTS,
            )

    def _gpu(self, stage: str) -> Gpu | None:
        return Gpu(device=str(self.device)) if stage == "latents" else None

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def autocast(self) -> torch.autocast:
        is_low = self.recipe.resources.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_low)


def seconds(bench: Bench, work: Callable[[], object], repeats: int) -> float:
    """The shortest time of `work` in seconds, including the wait for the device."""
    found = []
    for _ in range(repeats):
        bench.wait()
        began = bench.clock()
        work()
        bench.wait()
        found.append(bench.clock() - began)
    return min(found)


@contextlib.contextmanager
def on_cores(number: int) -> Iterator[None]:
    """Restrict threads started in the block to `number` cores, with as many torch threads."""
    allowed = os.sched_getaffinity(0)
    if number > len(allowed):
        raise ValueError(
            f"expected at most {len(allowed)} threads, the cores this process may use, "
            f"got {number}; name fewer with --threads"
        )
    os.sched_setaffinity(0, sorted(allowed)[:number])
    torch.set_num_threads(number)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def crops_of(bench: Bench, store: Store) -> list[pa.RecordBatch]:
    """The table `aligned` in chunks, as the stage reads it."""
    rows = pa.Table.from_batches(store.read("aligned", SHARD, ["crop_id", "image_id", "crop"]))
    size = bench.recipe.resources.commit_rows
    return [rows.slice(i, size).combine_chunks().to_batches()[0]
            for i in range(0, rows.num_rows, size)]  # fmt: skip


def renewed(store: Store, *tables: str) -> Store:
    """Delete these tables from `store`, so that they are computed again."""
    for table in tables:
        folder = f"{store.base}/{table}"
        if store.fs.exists(folder):
            store.fs.rm(folder, recursive=True)
    return store
