"""The table `images`: every file of the collection, hashed, decoded and validated."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from invertory.ops import schemas
from invertory.ops.totals import InputTotal, StatusTotal, Totals
from invertory.pipelines.checks import reject_share, rows_add_up
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.earlier_images import EarlierImages
from invertory.pipelines.tables.page import Table
from invertory.pipelines.tables.stage import Input
from invertory.resources.outages import patient

if TYPE_CHECKING:
    from invertory.ops.streams import Verb
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store

SOUND = frozenset({"ok", "duplicate"})  # a duplicate's first copy goes on


class Images(Table):
    name = "images"
    description = "Every file of the collection: hashed, decoded, validated; broken ones say why."
    code_version = "1"
    kinds = frozenset({"file"})
    checks = (rows_add_up, reject_share)
    id_column = "uri"

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        return (Input(table="entries"),)

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        return dict(recipe.config_for("limits"))

    def totals(self) -> Totals:
        return Totals(InputTotal(self.id_column, self.input_of, SOUND), StatusTotal())

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.ops.ingest import Ingest, first_uris

        read, limits = patient(Collection(run.recipe, run.models).read), run.recipe.limits

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            return Ingest(
                read=read,
                earlier=EarlierImages(store, shard).uri,
                first_of=first_uris(store.read("entries", shard), read),
                max_pixels=limits.max_pixels,
                min_px=limits.min_px,
            )

        return run.plan(
            schemas.IMAGES,
            build,
            lambda: store.read("entries", shard),
            store.num_rows("entries", shard),
        )
