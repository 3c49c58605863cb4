"""The tables `edits/<method>`: each crop moved along each boundary, by each step."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from invertory.ops import schemas
from invertory.ops.totals import InputTotal, Totals
from invertory.pipelines.checks import rows_add_up
from invertory.pipelines.tables.page import Table, same, scored_attributes
from invertory.pipelines.tables.stage import REST, Columns, Input

if TYPE_CHECKING:
    from invertory.ops.streams import Verb
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Edits(Table):
    name = "edits"
    description = "Each crop moved along each boundary: latent, image, and scores after the edit."
    code_version = "1"
    is_on_device = True
    kinds = frozenset({"pytorch"})
    checks = (rows_add_up,)
    id_column = "edit_id"
    image_column = "picture"
    caption_columns = ("attribute", "step")

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        return list(recipe.methods) if recipe.edits else []

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        return (Input(table=f"latents/{method}"), Input(table=f"boundaries/{method}"))

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        return {
            "edits": recipe.config_for("edits"),
            "size_px": recipe.alignment.size_px,
            "attributes": scored_attributes(recipe),
        }

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        return {
            **same(f"latents/{method}", "crop_id", "image_id"),
            "edit_id": (f"latents/{method}.crop_id", f"boundaries/{method}.attribute"),
            "attribute": (f"boundaries/{method}.attribute",),
            REST: (f"latents/{method}.latent", f"boundaries/{method}.normal"),
        }

    def totals(self) -> Totals:
        return Totals(InputTotal(self.id_column, self.input_of))

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.ops.edit import Edit, EditSpec
        from invertory.pipelines.networks.load import load_generator
        from invertory.pipelines.networks.render import load_renderer
        from invertory.pipelines.tables.export_set import boundaries_of

        method, latents = run.stage.method, f"latents/{run.stage.method}"
        generator = load_generator(run.recipe, run.models)
        boundaries = boundaries_of(run, store)
        specs = [
            EditSpec(
                attribute=e.attribute, steps=e.steps, layers=e.layers, unit=e.unit, mode=e.mode
            )
            for e in run.recipe.edits
        ]

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            renderer = load_renderer(run.recipe, run.models, generator, stack, lease, method=method)
            return Edit(renderer=renderer, boundaries=boundaries, specs=specs)

        return run.plan(
            schemas.edits(generator.num_ws, generator.w_dim, run.recipe.scored),
            build,
            lambda: store.read(latents, shard, drawable_columns(run, store, shard)),
            store.num_rows(latents, shard),
            space="w_plus",
        )

    def input_of(self, row_id: str) -> str:
        return row_id.rsplit(":", 2)[0]  # crop_id:attribute:step

    def caption(self, row: Mapping[str, Any]) -> str:
        return f"{row['attribute']} {row['step']:+g}"


def drawable_columns(run: StageRun, store: Store, shard: str) -> list[str]:
    """The columns from which an image is drawn: the latent and, if the method has one, its state.

    Raises ValueError where states are missing, as latents alone give other images.
    """
    from invertory.inversion.drawing import has_state
    from invertory.pipelines.networks.load import load_method

    method, latents = run.stage.method or "", f"latents/{run.stage.method}"
    columns = ["crop_id", "image_id", "latent"]
    if "state" in store.schema(latents, shard).names:
        return [*columns, "state"]
    if has_state(load_method(run.recipe, method)):
        raise ValueError(
            f"expected the states of {method} beside its latents of {shard}, got none; remove "
            f"{store.path(latents, shard)}, and the next run inverts these crops again"
        )
    return columns
