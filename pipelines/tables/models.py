"""The table `models`: a card for every network of the recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pyarrow as pa

from invertory.ops import schemas
from invertory.ops.streams import Chunk, Verb
from invertory.pipelines.networks.resolve import cards_of, networks_of
from invertory.pipelines.tables.page import Table

if TYPE_CHECKING:
    from invertory.pipelines.networks.resolve import Network
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.gpu import Lease
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Models(Table):
    name = "models"
    description = "Every network that takes part: where it comes from, its digest and its licence."
    code_version = "1"
    is_sharded = False
    counts_images = False

    def networks(
        self, recipe: Recipe, method: str | None, models: ModelStore
    ) -> Mapping[str, Network]:
        return networks_of(recipe, models)

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        cards = pa.RecordBatch.from_pylist(cards_of(run.recipe, run.models), schema=schemas.CARDS)

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            none = pa.RecordBatch.from_pylist([], schema=schemas.REJECTS)
            return lambda batch: Chunk(batch.num_rows, batch, none)

        return run.plan(schemas.CARDS, build, lambda: [cards], cards.num_rows)
