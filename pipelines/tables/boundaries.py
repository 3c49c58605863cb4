"""The tables `boundaries/<method>`: an attribute's hyperplane, or a direction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from invertory.ops.streams import Chunk
from invertory.ops.totals import MissingTotal, Totals
from invertory.pipelines.checks import all_found
from invertory.pipelines.networks.resolve import direction_files
from invertory.pipelines.tables.page import Table
from invertory.pipelines.tables.samples import fitted_on
from invertory.pipelines.tables.stage import ALL, REST, Columns, Input
from invertory.pipelines.tables.stage_run import ShardPlan

if TYPE_CHECKING:
    from invertory.ops.fit import FitSpec, ImportSpec
    from invertory.pipelines.networks.resolve import Network
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import StageRun
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Boundaries(Table):
    name = "boundaries"
    description = "A hyperplane (normal, offset, accuracy) for each attribute, or a direction."
    code_version = "1"
    is_sharded = False
    kinds = frozenset({"scikitlearn"})
    checks = (all_found,)
    counts_images = False

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        return list(recipe.methods) if recipe.boundaries else []

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        sources, inputs = fitted_on(recipe), []
        if "samples" in sources:
            inputs.append(Input(table="samples"))
        if "collection" in sources:
            inputs.append(Input(table=f"latents/{method}", shards="all"))
            inputs.append(Input(table="attributes", shards="all"))
        return tuple(inputs)

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        return {"boundaries": recipe.config_for("boundaries"), "method": method}

    def networks(
        self, recipe: Recipe, method: str | None, models: ModelStore
    ) -> Mapping[str, Network]:
        return direction_files(recipe, models)

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        sources = fitted_on(recipe)
        latents = ["samples.w"] if "samples" in sources else []
        latents += [f"latents/{method}.latent"] if "collection" in sources else []
        return {REST: tuple(latents)} if latents else {}

    def totals(self) -> Totals:
        return Totals(MissingTotal())

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.ops.fit import Fit
        from invertory.ops.scored import join_scores
        from invertory.pipelines.networks.load import load_generator

        generator, latents = load_generator(run.recipe, run.models), f"latents/{run.stage.method}"

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
        specs = [_spec(run, name) for name in run.recipe.boundaries]

        def chunks(start: int) -> Iterator[Chunk]:
            if start < len(specs):
                with run.progress.stage(run.stage.table, len(specs), start) as bar:
                    done = fit(specs)
                    bar.advance(done.num_inputs, done.rejects.num_rows)
                    yield done

        return ShardPlan(schema=fit.schema(specs), chunks=chunks, num_inputs=len(specs))


def _spec(run: StageRun, attribute: str) -> FitSpec | ImportSpec:
    """How a boundary is fitted, or imported and calibrated."""
    from invertory.ops.fit import FitSpec, ImportSpec
    from invertory.pipelines.networks.load import load_direction

    how = run.recipe.boundaries[attribute]
    if how.fit == "import":
        return ImportSpec(
            attribute=attribute,
            direction=load_direction(how.uri, run.models, how.component),
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
