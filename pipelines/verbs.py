"""From a recipe to the verbs that compute its tables: inputs, networks and parameters, joined.

Each maker gives a `Making`: the schema of the rows and a way to stream them from any input row
on. Networks are loaded, and a device is leased, only when there is something to compute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from ops import schemas, streams
from ops.streams import Chunk, Verb
from pipelines.chain import ALL
from pipelines.collection import Collection
from pipelines.making import Making

if TYPE_CHECKING:
    from invertory.boundaries import Boundary
    from invertory.generators import Generator
    from pipelines.chain import Stage
    from pipelines.progress import Progress
    from pipelines.recipe import Recipe
    from resources.gpu import Gpu, Lease
    from resources.models import ModelStore
    from resources.tables import Store

Inputs = Callable[[], Iterable[pa.RecordBatch]]
Build = Callable[[contextlib.ExitStack, "Lease | None"], Verb]


@dataclass(frozen=True)
class Line:
    """One stage of one recipe with the world it works in."""

    recipe: Recipe
    stage: Stage
    models: ModelStore
    progress: Progress
    gpu: Gpu | None = None
    leases: list[Lease] = field(default_factory=list)  # that it has had

    @contextlib.contextmanager
    def _lease(self) -> Iterator[Lease | None]:
        """A device for the length of the block, where the stage computes on one."""
        if self.gpu is None:
            yield None
            return
        with self._device().lease(waiting=self.progress.note) as lease:
            self.leases.append(lease)
            yield lease

    def _device(self) -> Gpu:
        """The injected resource, with the recipe's batch size and, where it is free, its device."""
        assert self.gpu is not None
        wanted = self.recipe.resources
        device = wanted.device if self.gpu.device == "auto" else self.gpu.device
        given = {"device": device, "batch_size": wanted.batch_size, "cpu_slots": wanted.cpu_slots}
        return self.gpu.model_copy(update=given)

    def make(self, store: Store, shard: str) -> Making:
        """How this stage's shard is made."""
        return MAKERS[self.stage.name](self, store, shard)

    def making(
        self, schema: pa.Schema, build: Build, inputs: Inputs, num_inputs: int, **footer: str
    ) -> Making:
        """Inputs through the verb that `build` gives, chunk by chunk."""

        def chunks(start: int) -> Iterator[Chunk]:
            with contextlib.ExitStack() as stack:
                if start >= num_inputs:
                    return
                lease = stack.enter_context(self._lease())
                verb = build(stack, lease)
                bar = stack.enter_context(self.progress.stage(self.stage.table, num_inputs, start))
                yield from streams.run(
                    verb,
                    inputs(),
                    commit_rows=self.recipe.resources.commit_rows,
                    start=start,
                    progress=lambda done: bar.advance(done.num_inputs, done.rejects.num_rows),
                )

        return Making(schema=schema, chunks=chunks, num_inputs=num_inputs, footer=footer)


def _images(line: Line, store: Store, shard: str) -> Making:
    from ops.ingest import Ingest, first_uris

    source, limits = Collection(line.recipe, line.models), line.recipe.limits

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        known = _known_images(store, shard)
        return Ingest(
            read=source.read,
            known=known,
            first_of=first_uris(store.read("entries", shard), source.read, known),
            max_pixels=limits.max_pixels,
            min_px=limits.min_px,
        )

    return line.making(
        schemas.IMAGES,
        build,
        lambda: store.read("entries", shard),
        store.num_rows("entries", shard),
    )


def _known_images(store: Store, shard: str) -> dict[str, str]:
    """image_id => uri of earlier shards, of files as long as one of this shard's.

    Others cannot be equal to one of these; to hold them all would grow with the collection.
    """
    sizes = {
        size
        for batch in store.read("entries", shard, ["size_bytes"])
        for size in batch.column("size_bytes").to_pylist()
    }
    return {
        image_id: uri
        for name in store.shards("images")
        if name < shard
        for batch in store.read("images", name, ["image_id", "uri", "size_bytes", "status"])
        for image_id, uri, size, status in zip(*(c.to_pylist() for c in batch.columns), strict=True)
        if status == "ok" and (size in sizes or None in sizes)
    }


def _aligned(line: Line, store: Store, shard: str) -> Making:
    from pipelines.networks import load_alignment

    source = Collection(line.recipe, line.models)

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        return load_alignment(line.recipe, line.models, source.read, stack)

    def inputs() -> Iterator[pa.RecordBatch]:
        for batch in store.read("images", shard):
            yield batch.filter(pc.equal(batch.column("status"), "ok"))

    number = sum(batch.num_rows for batch in inputs())
    return line.making(schemas.ALIGNED, build, inputs, number)


def _attributes(line: Line, store: Store, shard: str) -> Making:
    from ops.label import Label
    from pipelines.networks import load_scorer

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        scorer = load_scorer(line.recipe, line.models, stack)
        return Label([scorer], scorer.names)

    return line.making(
        schemas.attributes(list(line.recipe.attributes)),
        build,
        lambda: store.read("aligned", shard, batch_rows=64),
        store.num_rows("aligned", shard),
    )


def _latents(line: Line, store: Store, shard: str) -> Making:
    from ops.invert import Invert, latent_rows
    from pipelines.networks import load_generator, load_method, load_perceptual

    method = load_method(line.recipe, line.stage.method or "")
    generator = load_generator(line.recipe, line.models)
    perceptual = load_perceptual(line.recipe, line.models)

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        assert lease is not None
        return Invert(
            method=method,
            generator=on(generator, lease.device),
            perceptual=on(perceptual, lease.device),
            device=lease.device,
            batch_size=lease.batch_size,
        )

    rows = latent_rows(method, generator)
    return line.making(
        schemas.latents(rows, generator.w_dim, method.terms),
        build,
        lambda: store.read("aligned", shard, ["crop_id", "image_id", "crop"], batch_rows=64),
        store.num_rows("aligned", shard),
        space=method.space,
        latent_shape=f"[{rows}, {generator.w_dim}]",
        perceptual=perceptual.name,
        method=line.stage.method or "",
    )


def _models(line: Line, store: Store, shard: str) -> Making:
    from pipelines.networks import cards_of

    rows = cards_of(line.recipe)

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        none = pa.RecordBatch.from_pylist([], schema=schemas.REJECTS)
        return lambda batch: Chunk(batch.num_rows, batch, none)

    batch = pa.RecordBatch.from_pylist(rows, schema=schemas.CARDS)
    return line.making(schemas.CARDS, build, lambda: [batch], len(rows))


def _samples(line: Line, store: Store, shard: str) -> Making:
    from ops.sample import Sample, draws

    generator = _generator(line)
    number = int(line.stage.config["num_samples"])

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        return Sample(renderer=_renderer(line, generator, stack, lease, preview=True))

    schema = schemas.samples(generator.w_dim, list(line.recipe.attributes))
    return line.making(schema, build, lambda: draws(number), number)


def _boundaries(line: Line, store: Store, shard: str) -> Making:
    from ops.fit import Fit
    from ops.scored import join_scores

    generator, latents = _generator(line), f"latents/{line.stage.method}"

    def collection() -> Iterator[pa.RecordBatch]:
        for name in store.shards(latents):
            columns = ["crop_id", "latent"]
            yield from join_scores(
                store.read(latents, name, columns), store.read("attributes", name)
            )

    sources = {"samples": lambda: store.read("samples", ALL), "collection": collection}
    fit = Fit(num_ws=generator.num_ws, w_dim=generator.w_dim, sources=sources)
    specs = [_fit_spec(line, name) for name in line.recipe.boundaries]

    def chunks(start: int) -> Iterator[Chunk]:
        if start < len(specs):
            with line.progress.stage(line.stage.table, len(specs), start) as bar:
                done = fit(specs)
                bar.advance(done.num_inputs, done.rejects.num_rows)
                yield done

    return Making(schema=fit.schema(specs), chunks=chunks, num_inputs=len(specs))


def _edits(line: Line, store: Store, shard: str) -> Making:
    from ops.edit import Edit, EditSpec

    generator, boundaries = _generator(line), _fitted(line, store)
    latents = f"latents/{line.stage.method}"
    specs = [
        EditSpec(attribute=e.attribute, steps=e.steps, layers=e.layers, unit=e.unit, mode=e.mode)
        for e in line.recipe.edits
    ]

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        renderer = _renderer(line, generator, stack, lease)
        return Edit(renderer=renderer, boundaries=boundaries, specs=specs)

    return line.making(
        schemas.edits(generator.num_ws, generator.w_dim, list(line.recipe.attributes)),
        build,
        lambda: store.read(latents, shard, ["crop_id", "image_id", "latent"]),
        store.num_rows(latents, shard),
        space="w_plus",
    )


def _augmentation(line: Line, store: Store, shard: str) -> Making:
    from ops.augment import Augment
    from ops.scored import join_scores

    generator, boundaries = _generator(line), _fitted(line, store)
    how, latents = line.recipe.augmentation, f"latents/{line.stage.method}"
    assert how is not None

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        return Augment(
            renderer=_renderer(line, generator, stack, lease),
            target=_label(line, store, boundaries, how.target),
            protected=_label(line, store, boundaries, how.protected),
            extra=[boundaries[name] for name in how.keep],
            min_distance=how.min_distance,
        )

    def inputs() -> Iterator[pa.RecordBatch]:
        columns = ["crop_id", "image_id", "latent"]
        return join_scores(store.read(latents, shard, columns), store.read("attributes", shard))

    return line.making(
        schemas.augmentation(generator.num_ws, generator.w_dim, list(line.recipe.attributes)),
        build,
        inputs,
        store.num_rows(latents, shard),
        space="w_plus",
    )


def _exports(line: Line, store: Store, shard: str) -> Making:
    """The set's files first, then its index shard by shard, which says that the set is whole."""
    from ops.export import Recode, exported_rows
    from pipelines.exporting import index_of, plan_of, write_sets

    augmented = f"augmentation/{line.stage.method}"
    shards = store.shards("aligned")
    num_inputs = sum(store.num_rows("aligned", name) for name in shards)

    def rows(name: str) -> Iterator[pa.RecordBatch]:
        crops = store.read("aligned", name, batch_rows=64)
        partners = store.read(augmented, name, batch_rows=64)
        return exported_rows(plan, crops, partners, recode)

    plan, image = plan_of(line, store), line.recipe.export.image
    recode = Recode(size_px=image.size_px, format=image.format)

    def chunks(start: int) -> Iterator[Chunk]:
        if start >= num_inputs:
            return
        with line.progress.stage(line.stage.table, num_inputs, start) as bar:
            if not start:
                write_sets(line, store, plan, lambda: (b for name in shards for b in rows(name)))
            for name in shards:
                number = store.num_rows("aligned", name)
                start -= number
                if number and start < 0:
                    bar.advance(number, 0)
                    yield index_of(number, rows(name))

    return Making(schema=schemas.EXPORT_INDEX, chunks=chunks, num_inputs=num_inputs)


def _generator(line: Line) -> Generator:
    from pipelines.networks import load_generator

    return load_generator(line.recipe, line.models)


def on(network: Any, device: Any) -> Any:
    """The network on the device; what has no weights stays as it is."""
    return network.to(device) if hasattr(network, "to") else network


def _renderer(
    line: Line,
    generator: Generator,
    stack: contextlib.ExitStack,
    lease: Lease | None,
    *,
    preview: bool = False,
) -> Any:
    """Draws on the leased device and scores as the recipe says; crops' size, or the preview's."""
    from ops.render import Renderer
    from pipelines.networks import load_scorer

    assert lease is not None
    size_px = line.recipe.alignment.size_px
    return Renderer(
        generator=on(generator, lease.device),
        scorer=load_scorer(line.recipe, line.models, stack),
        device=lease.device,
        size_px=generator.preview_resolution if preview else size_px,
        batch_size=lease.batch_size,
        preview=preview,
        picture_format="jpeg",
    )


def _fitted(line: Line, store: Store) -> dict[str, Boundary]:
    from ops.fit import read_boundaries

    return read_boundaries(store.read(f"boundaries/{line.stage.method}", ALL))


def _fit_spec(line: Line, attribute: str) -> Any:
    """The recipe's way to a boundary; an imported direction gets its plane from the samples."""
    from ops.fit import FitSpec, ImportSpec
    from pipelines.networks import load_direction

    how = line.recipe.boundaries[attribute]
    if how.fit == "import":
        return ImportSpec(
            attribute=attribute,
            direction=load_direction(how.uri, line.models, how.component),
            uri=how.uri,
            calibrate=how.calibrate,
        )
    return FitSpec(
        attribute=attribute,
        source=how.fit,
        solver=how.solver,
        selection=how.selection,
        ratio=how.ratio,
        threshold=how.threshold,
        conditions=how.conditions,
    )


def _label(line: Line, store: Store, boundaries: dict[str, Boundary], attribute: str) -> Any:
    from ops.augment import Label
    from pipelines.exporting import rule

    score, threshold = rule(line, store, attribute)
    return Label(score=score, threshold=threshold, boundary=boundaries[attribute])


MAKERS: dict[str, Callable[[Line, Store, str], Making]] = {
    "images": _images,
    "aligned": _aligned,
    "attributes": _attributes,
    "latents": _latents,
    "models": _models,
    "samples": _samples,
    "boundaries": _boundaries,
    "edits": _edits,
    "augmentation": _augmentation,
    "exports": _exports,
}
