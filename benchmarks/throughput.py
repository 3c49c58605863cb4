"""One-pass methods from bytes to Parquet rows, against the bare network in the same run.

For each batch size, pictures a second of

    encoder    the bare network on tensors that lie on the device: no file, no picture drawn
    networks   what the verb `Invert` computes: encoder, synthesis, perceptual features, scores
    latents    the stage as the pipeline runs it: Parquet in, crops decoded, the above, JPEG of
               every synth, Parquet out, committed chunk by chunk
    chain      files > images > aligned > latents, each of them a published table

and then where a picture's time goes, each part measured alone. Everything runs in one process on
the same pictures, so that ratios hold where the machine is shared; each figure is the best of
`--repeats`, and `--clock cpu` counts the CPU's time, of all threads, in place of the wall's.
Portraits are drawn, and weights loaded, before the clock starts.

    python benchmarks/throughput.py --batches 1 8 32 128 --num 512 --precision bfloat16
    python benchmarks/throughput.py --device cuda --num 4096 --generator faces
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import torch

from invertory.images import from_levels
from invertory.metrics.pixel import mse, psnr_db
from invertory.metrics.ssim import ssim
from invertory.portraits import draw, render
from ops.ahead import num_cores
from ops.invert import Crops, Invert, Inverted
from ops.schemas import REJECTS
from pipelines.cli import ALLOCATOR
from pipelines.collection import Collection
from pipelines.intake import deal_new
from pipelines.line import Line
from pipelines.loading import (
    load_generator,
    load_method,
    load_method_networks,
    load_perceptual,
    on,
)
from pipelines.progress import Silent
from pipelines.recipe import Recipe
from pipelines.stages import chain_of
from pipelines.verbs import making_of
from resources.gpu import Gpu
from resources.models import ModelStore
from resources.tables import Store

SHARD = "shard-000001"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def write_portraits(folder: Path, number: int, size_px: int) -> None:
    from PIL import Image

    folder.mkdir(parents=True)
    for i in range(number):
        Image.fromarray(render(draw(i), size_px).picture).save(folder / f"{i:06d}.png")


def recipe_of(asked: argparse.Namespace, pictures: Path, batch: int) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "throughput",
            "collection": {"uri": str(pictures), "shard_size": asked.num},
            "limits": {"min_px": 16},
            "alignment": {"kind": "centre", "size_px": asked.size_px},
            "generator": {"name": asked.generator},
            "perceptual": {"name": asked.perceptual},
            "methods": {asked.method: {}},
            "resources": {
                "device": asked.device,
                "batch_size": batch,
                "commit_rows": max(64, batch),
                "precision": asked.precision,
            },
        }
    )


@dataclass(frozen=True)
class Bench:
    """One recipe, its networks on the device, and its pictures."""

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

    def publish(self, store: Store, *tables: str) -> None:
        """The tables, one after the other, as the assets do it."""
        chain = chain_of(self.recipe)
        for table in tables:
            stage = chain.stage(table)
            line = Line(self.recipe, stage, self.models, Silent(), self._gpu(stage.name))
            making = making_of(line, store, SHARD)
            store.publish(
                table,
                SHARD,
                schema=making.schema,
                key="benchmark",
                footer={},
                chunks=making.chunks,
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
    """Shortest time of a run of `work` that ends with the device idle."""
    found = []
    for _ in range(repeats):
        bench.wait()
        began = bench.clock()
        work()
        bench.wait()
        found.append(bench.clock() - began)
    return min(found)


def crops_of(bench: Bench, store: Store) -> list[pa.RecordBatch]:
    """The table `aligned` in the chunks that the stage would take."""
    rows = pa.Table.from_batches(store.read("aligned", SHARD, ["crop_id", "image_id", "crop"]))
    size = bench.recipe.resources.commit_rows
    return [rows.slice(i, size).combine_chunks().to_batches()[0]
            for i in range(0, rows.num_rows, size)]  # fmt: skip


def encoder_alone(bench: Bench, targets: list[torch.Tensor]) -> Callable[[], None]:
    """(a) `targets` are batches on the device."""
    (kind,) = bench.invert.method.needs
    encoder = bench.invert.networks[kind]

    @torch.no_grad()
    def work() -> None:
        with bench.autocast():
            for pictures in targets:
                encoder(pictures)

    return work


def batches_on_device(bench: Bench, prepared: list[Crops]) -> list[torch.Tensor]:
    levels = torch.cat([crops.levels for crops in prepared])
    return [from_levels(part.to(bench.device)) for part in torch.split(levels, bench.batch_size)]


def rates(bench: Bench, repeats: int) -> dict[str, float]:
    """Pictures a second of each of the four; the first chunk warms up what the first call costs."""
    store = Store(str(bench.folder / "store"), f"batch_{bench.batch_size}")
    deal_new(store, Collection(bench.recipe, bench.models), 1_000_000)
    bench.publish(store, "images", "aligned")
    chunks = crops_of(bench, store)
    prepared = [bench.invert.prepare(chunk) for chunk in chunks]
    bench.invert.finish(bench.invert.compute(prepared[0]))
    number = sum(chunk.num_rows for chunk in chunks)
    latents = f"latents/{bench.name}"

    def stage() -> None:
        bench.publish(renewed(store, latents), latents)

    def chain() -> None:
        tables = ("images", "aligned", latents)
        bench.publish(renewed(store, *tables), *tables)

    works: dict[str, Callable[[], object]] = {
        "encoder": encoder_alone(bench, batches_on_device(bench, prepared)),
        "networks": lambda: [bench.invert.compute(crops) for crops in prepared],
        "latents": stage,
        "chain": chain,
    }
    return {name: number / seconds(bench, work, repeats) for name, work in works.items()}


def renewed(store: Store, *tables: str) -> Store:
    """`store` without these tables, so that they are computed."""
    for table in tables:
        folder = f"{store.base}/{table}"
        if store.fs.exists(folder):
            store.fs.rm(folder, recursive=True)
    return store


def parts(bench: Bench, repeats: int) -> Iterator[tuple[str, float]]:
    """What one chunk of the stage costs, part by part, in ms a picture; nothing overlaps."""
    store = Store(str(bench.folder / "store"), f"batch_{bench.batch_size}")
    verb, chunk = bench.invert, crops_of(bench, store)[0]
    crops = verb.prepare(chunk)
    done: Inverted = verb.compute(crops)
    targets = from_levels(crops.levels.to(bench.device))
    w_plus = done.found.latents.to(bench.device)

    def ms(work: Callable[[], object]) -> float:
        work()
        return 1e3 * seconds(bench, work, repeats) / chunk.num_rows

    def batched(work: Callable[[torch.Tensor], object], given: torch.Tensor) -> float:
        @torch.no_grad()
        def all_batches() -> None:
            with bench.autocast():
                for part in torch.split(given, bench.batch_size):
                    work(part)

        return ms(all_batches)

    yield "decode the crops", ms(lambda: verb.prepare(chunk))
    yield "transfer", ms(lambda: from_levels(crops.levels.to(bench.device)))
    yield "encoder", ms(encoder_alone(bench, list(torch.split(targets, bench.batch_size))))
    yield "synthesis", batched(verb.generator.synthesis, w_plus)
    yield "perceptual features, twice", 2 * batched(verb.perceptual.features, targets)
    yield "scores: MSE, PSNR, SSIM", ms(lambda: [f(targets, targets) for f in (mse, psnr_db, ssim)])
    yield "rows: JPEG, Arrow", ms(lambda: verb.finish(done))
    rows = verb.finish(done).rows
    yield "write and sync", ms(lambda: write(store, rows))


def write(store: Store, rows: pa.RecordBatch) -> None:
    renewed(store, "scratch")
    store.write("scratch", "all", [rows], schema=rows.schema, key="scratch", footer={})


def stages_before(bench: Bench, repeats: int) -> Iterator[tuple[str, float]]:
    """The two stages before it, in ms a picture."""
    store = Store(str(bench.folder / "store"), f"batch_{bench.batch_size}")
    number = store.num_rows("images", SHARD)
    for table in ("images", "aligned"):
        work = lambda t=table: bench.publish(renewed(store, t), t)  # noqa: E731
        yield f"stage {table}", 1e3 * seconds(bench, work, repeats) / number


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--num", type=int, default=512, help="pictures")
    parser.add_argument("--size_px", type=int, default=64, help="of the crops")
    parser.add_argument("--method", default="domain_guided_encoder")
    parser.add_argument("--generator", default="portraits")
    parser.add_argument("--perceptual", default="portraits_classifier")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=num_cores(), help="of torch on the CPU")
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS))
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def machine(asked: argparse.Namespace, device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return (
        f"{asked.method}, {asked.generator}, {asked.perceptual}; n = {asked.num}, "
        f"{asked.size_px} px, {asked.precision}; {name}, {num_cores()} cores, {asked.threads} "
        f"torch threads, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}; "
        f"{asked.clock} time, best of {asked.repeats}\n"
    )


def rows_of(title: str, found: Iterable[tuple[str, float]]) -> None:
    print(f"\n| {title} | ms a picture |\n|---|---|")
    for name, ms in found:
        print(f"| {name} | {ms:.3f} |", flush=True)


def keep_freed_memory() -> None:
    """Start anew as `invertory` starts itself, with glibc told to keep freed memory."""
    if sys.platform == "linux" and not ALLOCATOR.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})


def main() -> None:
    keep_freed_memory()
    asked = arguments()
    torch.set_num_threads(asked.threads)
    device = torch.device("cuda:0" if asked.device == "cuda" else asked.device)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_portraits(folder / "pictures", asked.num, asked.size_px)
        print(machine(asked, device))
        print("| batch | encoder/s | networks/s | latents/s | chain/s | networks : encoder "
              "| latents : networks | latents : encoder | chain : encoder |")  # fmt: skip
        print("|" + "---|" * 9)
        for batch in asked.batches:
            recipe = recipe_of(asked, folder / "pictures", batch)
            bench = Bench(recipe, ModelStore(), device, folder, CLOCKS[asked.clock])
            a, b, c, d = rates(bench, asked.repeats).values()
            print(f"| {batch} | {a:.0f} | {b:.0f} | {c:.0f} | {d:.0f} | {b / a:.2f} | {c / b:.2f} "
                  f"| {c / a:.2f} | {d / a:.2f} |", flush=True)  # fmt: skip
        rows_of(f"part, batch {bench.batch_size}", parts(bench, asked.repeats))
        rows_of("stage before it", stages_before(bench, asked.repeats))


if __name__ == "__main__":
    main()
