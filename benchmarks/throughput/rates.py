"""Images per second of the encoder, the networks, the stage and the chain."""

from __future__ import annotations

from collections.abc import Callable

import torch

from benchmarks.throughput.bench import Bench, crops_of, renewed, seconds
from invertory.images import from_levels
from invertory.ops.invert import Crops
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.intake import deal_new


def rates(bench: Bench, repeats: int) -> dict[str, float]:
    """Images per second of all four; the first chunk is a warm-up."""
    store = bench.store
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


def encoder_alone(bench: Bench, targets: list[torch.Tensor]) -> Callable[[], None]:
    """A pass of the encoder over `targets`, batches on the device."""
    (kind,) = bench.invert.method.needs
    encoder = bench.invert.networks[kind]

    @torch.no_grad()
    def work() -> None:
        with bench.autocast():
            for images in targets:
                encoder(images)

    return work


def batches_on_device(bench: Bench, prepared: list[Crops]) -> list[torch.Tensor]:
    levels = torch.cat([crops.levels for crops in prepared])
    return [from_levels(part.to(bench.device)) for part in torch.split(levels, bench.batch_size)]
