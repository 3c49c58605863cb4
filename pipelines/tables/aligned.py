"""The table `aligned`: a row for each crop, with its quad and the transform back to the image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from invertory.ops import schemas
from invertory.ops.totals import InputTotal, Totals
from invertory.pipelines.checks import reject_share, rows_add_up
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.networks.resolve import alignment_networks
from invertory.pipelines.tables.images import Images
from invertory.pipelines.tables.page import Table
from invertory.pipelines.tables.stage import REST, Columns, Input
from invertory.resources.outages import patient

if TYPE_CHECKING:
    from invertory.ops.streams import Verb
    from invertory.pipelines.networks.resolve import Network
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Aligned(Table):
    name = "aligned"
    description = "One row a crop: the FFHQ quad around a face with its inverse, or a centre crop."
    code_version = "2"
    checks = (rows_add_up, reject_share)
    image_column = "crop"

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        return (Input(table="images"),)

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        return dict(recipe.config_for("alignment"))

    def networks(
        self, recipe: Recipe, method: str | None, models: ModelStore
    ) -> Mapping[str, Network]:
        return alignment_networks(recipe)

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        return {
            "crop_id": ("images.image_id",),
            "image_id": ("images.image_id",),
            REST: ("images.uri",),
        }

    def totals(self) -> Totals:
        return Totals(InputTotal(self.id_column, self.input_of))

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.pipelines.networks.load import load_alignment

        read = patient(Collection(run.recipe, run.models).read)

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            return load_alignment(run.recipe, run.models, read, stack)

        def inputs() -> Iterator[pa.RecordBatch]:
            for batch in store.read("images", shard):
                yield batch.filter(pc.equal(batch.column("status"), "ok"))

        totals = store.summary("images", shard, Images().totals).totals
        return run.plan(schemas.ALIGNED, build, inputs, totals["rows_by_status"].get("ok", 0))

    def input_of(self, row_id: str) -> str:
        return row_id.partition(":")[0]  # image_id[:face_index]
