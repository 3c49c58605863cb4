"""The table `attributes`: the scores of each crop, by classifiers or from the user's labels."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from invertory.ops import schemas
from invertory.ops.totals import InputTotal, Totals
from invertory.pipelines.checks import reject_share, rows_add_up
from invertory.pipelines.networks.resolve import scoring_networks
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


class Attributes(Table):
    name = "attributes"
    description = "Each crop's scores, raw as the recipe's scorers gave them."
    code_version = "1"
    checks = (rows_add_up, reject_share)

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        return [None] if recipe.attributes else []

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        return (Input(table="aligned"),)

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        return dict(recipe.config_for("attributes"))

    def networks(
        self, recipe: Recipe, method: str | None, models: ModelStore
    ) -> Mapping[str, Network]:
        return scoring_networks(recipe, models)

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        return {**same("aligned", "crop_id", "image_id"), REST: ("aligned.crop",)}

    def totals(self) -> Totals:
        return Totals(InputTotal(self.id_column, self.input_of))

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        from invertory.ops.label import Label
        from invertory.pipelines.collections.labels import load_labels
        from invertory.pipelines.networks.load import load_scorer

        def build(stack: contextlib.ExitStack, lease: Lease | None) -> Verb:
            scorer = load_scorer(run.recipe, run.models, stack)
            labels = load_labels(run.recipe, run.models)
            return Label([scorer], list(run.recipe.attributes), labels)

        return run.plan(
            schemas.attributes(list(run.recipe.attributes)),
            build,
            lambda: store.read("aligned", shard, batch_rows=64),
            store.num_rows("aligned", shard),
        )
