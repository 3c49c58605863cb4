"""The table `samples`: draws from the generator with their scores."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from invertory.ops import schemas
from invertory.pipelines.networks.resolve import generator_networks, scoring_networks
from invertory.pipelines.tables.page import Table, scored_attributes

if TYPE_CHECKING:
    from invertory.ops.streams import Verb
    from invertory.pipelines.networks.resolve import Network
    from invertory.pipelines.recipe.attributes import FittedBoundary, ImportedBoundary
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Samples(Table):
    name = "samples"
    description = "Draws from the generator with their scores; boundaries are fitted on them."
    code_version = "1"
    is_sharded = False
    is_on_device = True
    kinds = frozenset({"pytorch"})

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        return [None] if "samples" in fitted_on(recipe) else []

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        boundaries = recipe.boundaries.values()
        return {
            "num_samples": max(b.num_samples for b in boundaries if _fitted_on(b) == "samples"),
            "generator": recipe.config_for("generator"),
            "attributes": scored_attributes(recipe),
        }

    def networks(
        self, recipe: Recipe, method: str | None, models: ModelStore
    ) -> Mapping[str, Network]:
        return {**generator_networks(recipe, models), **scoring_networks(recipe, models)}

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.ops.sample import Sample, draws
        from invertory.pipelines.networks.load import load_generator
        from invertory.pipelines.networks.render import load_renderer

        generator = load_generator(run.recipe, run.models)
        num_samples = int(run.stage.config["num_samples"])

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            renderer = load_renderer(
                run.recipe, run.models, generator, stack, lease, is_preview=True
            )
            return Sample(renderer=renderer)

        schema = schemas.samples(generator.w_dim, run.recipe.scored)
        return run.plan(schema, build, lambda: draws(num_samples), num_samples)


def fitted_on(recipe: Recipe) -> set[str | None]:
    """The sources of scored latents that boundaries are fitted on: samples, collection."""
    return {_fitted_on(boundary) for boundary in recipe.boundaries.values()}


def _fitted_on(boundary: FittedBoundary | ImportedBoundary) -> str | None:
    return boundary.calibrate if boundary.fit == "import" else boundary.fit
