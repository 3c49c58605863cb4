"""The verbs behind samples, boundaries, edits, augmentation and exports, joined to a recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from invertory.ops import schemas
from invertory.ops.streams import Chunk, Verb
from invertory.pipelines.networks.load import on
from invertory.pipelines.tables.chain import ALL
from invertory.pipelines.tables.line import Line
from invertory.pipelines.tables.making import Making

if TYPE_CHECKING:
    from torch import nn

    from invertory.boundaries import Boundary
    from invertory.generators import Generator
    from invertory.resources.gpu import Lease
    from invertory.resources.tables import Store


def samples(line: Line, store: Store, shard: str) -> Making:
    from invertory.ops.sample import Sample, draws

    generator = _generator(line)
    number = int(line.stage.config["num_samples"])

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        return Sample(renderer=_renderer(line, generator, stack, lease, preview=True))

    schema = schemas.samples(generator.w_dim, line.recipe.scored)
    return line.making(schema, build, lambda: draws(number), number)


def boundaries(line: Line, store: Store, shard: str) -> Making:
    from invertory.ops.fit import Fit
    from invertory.ops.scored import join_scores

    generator, latents = _generator(line), f"latents/{line.stage.method}"

    def collection() -> Iterator[pa.RecordBatch]:
        for name in store.shards(latents):
            columns = ["crop_id", "latent"]
            yield from join_scores(
                store.read(latents, name, columns),
                store.read("attributes", name),
                store.schema("attributes", name),
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


def edits(line: Line, store: Store, shard: str) -> Making:
    from invertory.ops.edit import Edit, EditSpec

    generator, boundaries = _generator(line), _fitted(line, store)
    latents = f"latents/{line.stage.method}"
    specs = [
        EditSpec(attribute=e.attribute, steps=e.steps, layers=e.layers, unit=e.unit, mode=e.mode)
        for e in line.recipe.edits
    ]

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        renderer = _renderer(line, generator, stack, lease, method=line.stage.method)
        return Edit(renderer=renderer, boundaries=boundaries, specs=specs)

    return line.making(
        schemas.edits(generator.num_ws, generator.w_dim, line.recipe.scored),
        build,
        lambda: store.read(latents, shard, _drawable(line, store, shard)),
        store.num_rows(latents, shard),
        space="w_plus",
    )


def augmentation(line: Line, store: Store, shard: str) -> Making:
    from invertory.ops.augment import Augment
    from invertory.ops.scored import join_scores

    generator, boundaries = _generator(line), _fitted(line, store)
    how, latents = line.recipe.augmentation, f"latents/{line.stage.method}"
    assert how is not None

    def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
        return Augment(
            renderer=_renderer(line, generator, stack, lease, method=line.stage.method),
            target=_label(line, store, boundaries, how.target),
            protected=_label(line, store, boundaries, how.protected),
            extra=[boundaries[name] for name in how.keep],
            min_distance=how.min_distance,
        )

    def inputs() -> Iterator[pa.RecordBatch]:
        columns = _drawable(line, store, shard)
        return join_scores(
            store.read(latents, shard, columns),
            store.read("attributes", shard),
            store.schema("attributes", shard),
        )

    return line.making(
        schemas.augmentation(generator.num_ws, generator.w_dim, line.recipe.scored),
        build,
        inputs,
        store.num_rows(latents, shard),
        space="w_plus",
    )


def _drawable(line: Line, store: Store, shard: str) -> list[str]:
    """The columns that an image is drawn from: the latent and, where the method has one, its state.

    ValueError where states are missing: the latents alone would draw other images.
    """
    from invertory.inversion.drawing import has_state
    from invertory.pipelines.networks.load import load_method

    method, latents = line.stage.method or "", f"latents/{line.stage.method}"
    columns = ["crop_id", "image_id", "latent"]
    if "state" in store.schema(latents, shard).names:
        return [*columns, "state"]
    if has_state(load_method(line.recipe, method)):
        raise ValueError(
            f"expected the states of {method} beside its latents of {shard}, got none; remove "
            f"{store.path(latents, shard)}, and the next run inverts these crops again"
        )
    return columns


def exports(line: Line, store: Store, shard: str) -> Making:
    """The set first, then its index shard by shard; a sound set is not written again."""
    from invertory.ops.export import Recode, exported_rows
    from invertory.pipelines.tables.export_set import index_of, plan_of, write_sets

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
        write_sets(line, store, plan, lambda: (b for name in shards for b in rows(name)))
        if start >= num_inputs:
            return
        with line.progress.stage(line.stage.table, num_inputs, start) as bar:
            for name in shards:
                number = store.num_rows("aligned", name)
                start -= number
                if number and start < 0:
                    bar.advance(number, 0)
                    yield index_of(number, rows(name))

    return Making(schema=schemas.EXPORT_INDEX, chunks=chunks, num_inputs=num_inputs)


def _generator(line: Line) -> Generator:
    from invertory.pipelines.networks.load import load_generator

    return load_generator(line.recipe, line.models)


def _renderer(
    line: Line,
    generator: Generator,
    stack: contextlib.ExitStack,
    lease: Lease | None,
    *,
    preview: bool = False,
    method: str | None = None,
) -> Any:
    """Draws on the leased device and scores as the recipe says; crops' size, or the preview's.

    Latents are drawn as `method` draws them.
    """
    from invertory.inversion.drawing import Drawing
    from invertory.ops.render import Renderer
    from invertory.pipelines.networks.load import load_method, load_method_networks, load_scorer

    assert lease is not None
    drawing = load_method(line.recipe, method) if method else None
    networks: dict[str, nn.Module] = {}
    if method and isinstance(drawing, Drawing):
        networks = load_method_networks(line.recipe, method, line.models)
    size_px = line.recipe.alignment.size_px
    return Renderer(
        generator=on(generator, lease.device),
        scorer=load_scorer(line.recipe, line.models, stack),
        device=lease.device,
        size_px=generator.preview_resolution if preview else size_px,
        batch_size=lease.batch_size,
        preview=preview,
        picture_format="jpeg",
        method=drawing,
        networks={kind: on(network, lease.device) for kind, network in networks.items()},
    )


def _fitted(line: Line, store: Store) -> dict[str, Boundary]:
    from invertory.ops.fit import read_boundaries

    return read_boundaries(store.read(f"boundaries/{line.stage.method}", ALL))


def _fit_spec(line: Line, attribute: str) -> Any:
    """The recipe's way to a boundary; an imported direction gets its plane from the samples."""
    from invertory.ops.fit import FitSpec, ImportSpec
    from invertory.pipelines.networks.load import load_direction

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
    from invertory.ops.augment import Label
    from invertory.pipelines.tables.export_set import rule

    score, threshold = rule(line, store, attribute)
    return Label(score=score, threshold=threshold, boundary=boundaries[attribute])
