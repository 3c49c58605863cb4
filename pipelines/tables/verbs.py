"""From a recipe to the verbs that compute its tables: inputs, networks and parameters, joined.

Each maker gives a `Making`: the schema of the rows and a way to stream them from any input row
on. Networks are loaded, and a device is leased, only when there is something to compute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from invertory.ops import schemas
from invertory.ops.streams import Chunk, Verb
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.earlier_images import EarlierImages
from invertory.pipelines.networks.load import on
from invertory.pipelines.tables.line import Line
from invertory.pipelines.tables.making import Making
from invertory.pipelines.tables.verbs_editing import (
    augmentation,
    boundaries,
    edits,
    exports,
    samples,
)
from invertory.resources.outages import patient

if TYPE_CHECKING:
    from invertory.resources.gpu import Lease
    from invertory.resources.tables import Store


def making_of(line: Line, store: Store, shard: str) -> Making:
    """How the stage's shard is made."""
    return MAKERS[line.stage.name](line, store, shard)


def _images(line: Line, store: Store, shard: str) -> Making:
    from invertory.ops.ingest import Ingest, first_uris

    read = patient(Collection(line.recipe, line.models).read)
    limits = line.recipe.limits

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        return Ingest(
            read=read,
            earlier=EarlierImages(store, shard).uri,
            first_of=first_uris(store.read("entries", shard), read),
            max_pixels=limits.max_pixels,
            min_px=limits.min_px,
        )

    return line.making(
        schemas.IMAGES,
        build,
        lambda: store.read("entries", shard),
        store.num_rows("entries", shard),
    )


def _aligned(line: Line, store: Store, shard: str) -> Making:
    from invertory.pipelines.networks.load import load_alignment

    read = patient(Collection(line.recipe, line.models).read)

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        return load_alignment(line.recipe, line.models, read, stack)

    def inputs() -> Iterator[pa.RecordBatch]:
        for batch in store.read("images", shard):
            yield batch.filter(pc.equal(batch.column("status"), "ok"))

    number = sum(batch.num_rows for batch in inputs())
    return line.making(schemas.ALIGNED, build, inputs, number)


def _attributes(line: Line, store: Store, shard: str) -> Making:
    from invertory.ops.label import Label
    from invertory.pipelines.collections.labels import load_labels
    from invertory.pipelines.networks.load import load_scorer

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        scorer = load_scorer(line.recipe, line.models, stack)
        labels = load_labels(line.recipe, line.models)
        return Label([scorer], list(line.recipe.attributes), labels)

    return line.making(
        schemas.attributes(list(line.recipe.attributes)),
        build,
        lambda: store.read("aligned", shard, batch_rows=64),
        store.num_rows("aligned", shard),
    )


def _latents(line: Line, store: Store, shard: str) -> Making:
    from invertory.ops.invert import Invert, latent_rows, schema_of
    from invertory.pipelines.networks.load import (
        load_generator,
        load_method,
        load_method_networks,
        load_perceptual,
    )

    method = load_method(line.recipe, line.stage.method or "")
    generator = load_generator(line.recipe, line.models)
    perceptual = load_perceptual(line.recipe, line.models)
    networks = load_method_networks(line.recipe, line.stage.method or "", line.models)

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        assert lease is not None
        return Invert(
            method=method,
            generator=on(generator, lease.device),
            perceptual=on(perceptual, lease.device),
            networks={kind: on(network, lease.device) for kind, network in networks.items()},
            device=lease.device,
            batch_size=lease.batch_size,
        )

    rows = latent_rows(method, generator)
    return line.making(
        schema_of(method, generator, perceptual),
        build,
        lambda: store.read("aligned", shard, ["crop_id", "image_id", "crop"], batch_rows=64),
        store.num_rows("aligned", shard),
        space=method.space,
        latent_shape=f"[{rows}, {generator.w_dim}]",
        perceptual=perceptual.name,
        method=line.stage.method or "",
    )


def _models(line: Line, store: Store, shard: str) -> Making:
    from invertory.pipelines.networks.resolve import cards_of

    rows = cards_of(line.recipe)

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        none = pa.RecordBatch.from_pylist([], schema=schemas.REJECTS)
        return lambda batch: Chunk(batch.num_rows, batch, none)

    batch = pa.RecordBatch.from_pylist(rows, schema=schemas.CARDS)
    return line.making(schemas.CARDS, build, lambda: [batch], len(rows))


MAKERS: dict[str, Callable[[Line, Store, str], Making]] = {
    "images": _images,
    "aligned": _aligned,
    "attributes": _attributes,
    "latents": _latents,
    "models": _models,
    "samples": samples,
    "boundaries": boundaries,
    "edits": edits,
    "augmentation": augmentation,
    "exports": exports,
}
