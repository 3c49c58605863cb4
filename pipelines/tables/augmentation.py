"""The table `augmentation/<method>`: a partner for each crop, with the protected label flipped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from invertory.ops import schemas
from invertory.ops.totals import InputTotal, Totals
from invertory.pipelines.checks import rows_add_up
from invertory.pipelines.tables.edits import drawable_columns
from invertory.pipelines.tables.page import Table, same
from invertory.pipelines.tables.stage import REST, Columns, Input

if TYPE_CHECKING:
    from invertory.boundaries import Boundary
    from invertory.ops.augment import Label
    from invertory.ops.streams import Verb
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Augmentation(Table):
    name = "augmentation"
    description = "For each crop a partner, protected attribute flipped and target kept."
    code_version = "1"
    is_on_device = True
    kinds = frozenset({"pytorch"})
    checks = (rows_add_up,)
    image_column = "picture"

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        return [recipe.augmentation.method] if recipe.augmentation else []

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        return (
            Input(table=f"latents/{method}"),
            Input(table="attributes"),
            Input(table=f"boundaries/{method}"),
        )

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        return {
            "augmentation": recipe.config_for("augmentation"),
            "size_px": recipe.alignment.size_px,
        }

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        how = recipe.augmentation
        assert how is not None
        return {
            **same(f"latents/{method}", "crop_id", "image_id"),
            "sample_id": (f"latents/{method}.crop_id",),
            REST: (
                f"latents/{method}.latent",
                f"boundaries/{method}.normal",
                f"boundaries/{method}.offset",
            ),
            "target_label": (f"attributes.score_{how.target}",),
            "protected_label": (f"attributes.score_{how.protected}",),
        }

    def totals(self) -> Totals:
        return Totals(InputTotal(self.id_column, self.input_of))

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.ops.augment import Augment
        from invertory.ops.scored import join_scores
        from invertory.pipelines.networks.load import load_generator
        from invertory.pipelines.networks.render import load_renderer
        from invertory.pipelines.tables.export_set import boundaries_of

        method, latents = run.stage.method, f"latents/{run.stage.method}"
        how = run.recipe.augmentation
        assert how is not None
        generator = load_generator(run.recipe, run.models)
        boundaries = boundaries_of(run, store)

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            return Augment(
                renderer=load_renderer(
                    run.recipe, run.models, generator, stack, lease, method=method
                ),
                target=_label(run, boundaries, how.target),
                protected=_label(run, boundaries, how.protected),
                extra=[boundaries[name] for name in how.keep],
                min_distance=how.min_distance,
            )

        def inputs() -> Iterator[pa.RecordBatch]:
            columns = drawable_columns(run, store, shard)
            return join_scores(
                store.read(latents, shard, columns),
                store.read("attributes", shard),
                store.schema("attributes", shard),
            )

        return run.plan(
            schemas.augmentation(generator.num_ws, generator.w_dim, run.recipe.scored),
            build,
            inputs,
            store.num_rows(latents, shard),
            space="w_plus",
        )


def _label(run: StageRun, boundaries: dict[str, Boundary], attribute: str) -> Label:
    from invertory.ops.augment import Label
    from invertory.pipelines.tables.export_set import rule

    score, threshold = rule(run.recipe, boundaries, attribute)
    return Label(score=score, threshold=threshold, boundary=boundaries[attribute])
