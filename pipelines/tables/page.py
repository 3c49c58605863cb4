"""The page of a table: name, version, inputs, key, lineage, totals, checks, sheet and verb.

Adding a table takes a page (a subclass of `Table` in a file of its own), a line in `TABLES`, a
schema in `ops/schemas.py` and a verb in `ops/`. Assets, checks, jobs, status and contact sheets
are derived from the pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from invertory.ops.totals import Totals
from invertory.pipelines.tables.stage import Columns, Input, Stage

if TYPE_CHECKING:
    from invertory.pipelines.checks import Check
    from invertory.pipelines.networks.resolve import Network
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import ShardPlan, StageRun
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Table:
    """One table of the chain."""

    name: ClassVar[str]
    description: ClassVar[str]
    code_version: ClassVar[str]
    """Raised whenever a change of code changes the table's content."""
    is_sharded: ClassVar[bool] = True
    is_on_device: ClassVar[bool] = False
    """True if its verb computes on a leased device."""
    kinds: ClassVar[frozenset[str]] = frozenset()
    """Icons in the Dagster UI, beside parquet."""
    checks: ClassVar[tuple[Check, ...]] = ()
    """Blocking checks, in the order in which they are reported."""
    id_column: ClassVar[str] = "crop_id"
    """The column that identifies a row."""
    image_column: ClassVar[str | None] = None
    """The column of the images on its contact sheet."""
    caption_columns: ClassVar[tuple[str, ...]] = ()
    """The columns that `caption` reads in addition to the id."""
    counts_images: ClassVar[bool] = True
    """False if a row is no image, so that speed is in rows per second."""

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        """The methods that each have such a table; [None] for one table, [] for none."""
        return [None]

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        """The tables that it reads."""
        return ()

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> Mapping[str, Any]:
        """The values of the recipe that the content depends on, as JSON-able values."""
        return {}

    def networks(
        self, recipe: Recipe, method: str | None, models: ModelStore
    ) -> Mapping[str, Network]:
        """The networks that the content depends on."""
        return {}

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        """Where each column comes from."""
        return {}

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        """The schema and the chunks of a shard, computed by the verb of this table."""
        raise NotImplementedError(f"the page of {self.name!r} has no plan")

    def totals(self) -> Totals:
        """The figures of a shard that are added up at publishing, for checks and reports."""
        return Totals()

    def input_of(self, row_id: str) -> str:
        """The id of the input row behind a row or a reject."""
        return row_id

    def caption(self, row: Mapping[str, Any]) -> str:
        """The label of an image on the contact sheet."""
        return str(row[self.id_column])[:8]

    def stages(self, recipe: Recipe, models: ModelStore) -> Iterable[Stage]:
        """The table in `recipe`: one stage, one for each method, or none."""
        return (self.stage(recipe, method, models) for method in self.methods(recipe))

    def stage(self, recipe: Recipe, method: str | None, models: ModelStore) -> Stage:
        """The table of one method, or the one table of the recipe."""
        networks = self.networks(recipe, method, models)
        return Stage(
            page=self,
            recipe=recipe.name,
            table=f"{self.name}/{method}" if method else self.name,
            inputs=self.inputs(recipe, method),
            config=self.config(recipe, method, models),
            models={name: network.sha256 for name, network in networks.items()},
            columns=self.columns(recipe, method),
            limits=recipe.config_for("checks"),
        )


def same(table: str, *columns: str) -> dict[str, tuple[str, ...]]:
    """Lineage of columns that are copied from `table`."""
    return {name: (f"{table}.{name}",) for name in columns}


def scored_attributes(recipe: Recipe) -> dict[str, Any]:
    """The scorers of the attributes that drawn and edited images have too."""
    attributes = recipe.config_for("attributes")
    return {name: attributes[name] for name in recipe.scored}
