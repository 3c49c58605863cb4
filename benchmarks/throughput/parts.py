"""Time per image of each step of the stage, measured separately, and of the stages before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import torch

from benchmarks.throughput.bench import SHARD, Bench, crops_of, renewed, seconds
from benchmarks.throughput.rates import encoder_alone
from invertory.images import from_levels
from invertory.metrics.pixel import mse, psnr_db
from invertory.metrics.ssim import ssim
from invertory.ops.invert import Inverted
from invertory.resources.tables import Store


def parts(bench: Bench, repeats: int) -> Iterator[tuple[str, float]]:
    """The steps of the stage on one chunk, without overlap, in ms per image."""
    store = bench.store
    verb, chunk = bench.invert, crops_of(bench, store)[0]
    crops = verb.prepare(chunk)
    done: Inverted = verb.compute(crops)
    targets = from_levels(crops.levels.to(bench.device))
    w_plus = done.inversion.latents.to(bench.device)

    def ms(work: Callable[[], object]) -> float:
        work()
        return 1e3 * seconds(bench, work, repeats) / int(chunk.num_rows)

    def batched(work: Callable[[torch.Tensor], object], batch: torch.Tensor) -> float:
        @torch.no_grad()
        def all_batches() -> None:
            with bench.autocast():
                for part in torch.split(batch, bench.batch_size):
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
    """The two stages before it, in ms per image."""
    store = bench.store
    number = store.num_rows("images", SHARD)
    for table in ("images", "aligned"):
        work = lambda t=table: bench.publish(renewed(store, t), t)  # noqa: E731
        yield f"stage {table}", 1e3 * seconds(bench, work, repeats) / number
