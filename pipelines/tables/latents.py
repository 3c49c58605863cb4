"""The tables `latents/<method>`: every crop inverted by one method."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from invertory.ops.totals import InputTotal, MedianTotal, NonFiniteTotal, Totals
from invertory.pipelines.checks import (
    finite_latents,
    reconstruction_floor,
    reject_share,
    rows_add_up,
)
from invertory.pipelines.networks.resolve import (
    generator_networks,
    method_networks,
    perceptual_name,
    perceptual_networks,
)
from invertory.pipelines.tables.page import Table, same
from invertory.pipelines.tables.stage import REST, Columns, Input

if TYPE_CHECKING:
    from invertory.ops.streams import Verb
    from invertory.pipelines.networks.resolve import Network
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Latents(Table):
    name = "latents"
    description = "Every crop inverted by one method: latent, losses, scores and its image."
    code_version = "4"
    is_on_device = True
    kinds = frozenset({"pytorch"})
    checks = (rows_add_up, reject_share, finite_latents, reconstruction_floor)
    image_column = "synth"
    caption_columns = ("psnr_db",)

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        return list(recipe.methods)

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        return (Input(table="aligned"),)

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        parameters = recipe.methods[str(method)]
        return {
            "method": method,
            "parameters": parameters,
            "generator": recipe.config_for("generator"),
            "perceptual": {"name": perceptual_name(recipe, models)},
            "precision": parameters.get("precision", recipe.resources.precision),
        }

    def networks(
        self, recipe: Recipe, method: str | None, models: ModelStore
    ) -> Mapping[str, Network]:
        return {
            **generator_networks(recipe, models),
            **perceptual_networks(recipe, models),
            **method_networks(recipe, str(method), models),
        }

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        return {
            **same("aligned", "crop_id", "image_id"),
            "seed": ("aligned.crop_id",),
            REST: ("aligned.crop",),
        }

    def totals(self) -> Totals:
        return Totals(
            InputTotal(self.id_column, self.input_of),
            NonFiniteTotal("latent"),
            MedianTotal("psnr_db"),
        )

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.ops.invert import Invert, latent_rows, schema_of
        from invertory.pipelines.networks import load

        name = run.stage.method or ""
        method = load.load_method(run.recipe, name)
        generator = load.load_generator(run.recipe, run.models)
        perceptual = load.load_perceptual(run.recipe, run.models)
        networks = load.load_method_networks(run.recipe, name, run.models)

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            assert lease is not None
            return Invert(
                method=method,
                generator=load.on(generator, lease.device),
                perceptual=load.on(perceptual, lease.device),
                networks={kind: load.on(net, lease.device) for kind, net in networks.items()},
                device=lease.device,
                batch_size=lease.batch_size,
            )

        return run.plan(
            schema_of(method, generator, perceptual),
            build,
            lambda: store.read("aligned", shard, ["crop_id", "image_id", "crop"], batch_rows=64),
            store.num_rows("aligned", shard),
            space=method.space,
            latent_shape=f"[{latent_rows(method, generator)}, {generator.w_dim}]",
            perceptual=perceptual.name,
            method=name,
        )

    def caption(self, row: Mapping[str, Any]) -> str:
        return f"{row['psnr_db']:.1f} dB"
