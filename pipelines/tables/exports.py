"""The table `exports/<method>`: the index of an exported set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from invertory.ops import schemas
from invertory.ops.streams import Chunk
from invertory.pipelines.tables.page import Table, same
from invertory.pipelines.tables.stage import REST, Columns, Input
from invertory.pipelines.tables.stage_run import ShardPlan

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage_run import StageRun
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


class Exports(Table):
    name = "exports"
    description = "The balanced set as WebDataset, image folder and Parquet, with its datasheet."
    code_version = "1"
    is_sharded = False
    kinds = frozenset({"huggingface"})

    def methods(self, recipe: Recipe) -> Iterable[str | None]:
        return [recipe.augmentation.method] if recipe.augmentation else []

    def inputs(self, recipe: Recipe, method: str | None) -> tuple[Input, ...]:
        return (
            Input(table="aligned", shards="all"),
            Input(table="attributes", shards="all"),
            Input(table=f"augmentation/{method}", shards="all"),
            Input(table=f"boundaries/{method}"),
        )

    def config(self, recipe: Recipe, method: str | None, models: ModelStore) -> dict[str, Any]:
        return {name: recipe.config_for(name) for name in ("export", "augmentation", "collection")}

    def columns(self, recipe: Recipe, method: str | None) -> Columns:
        how, augmented = recipe.augmentation, f"augmentation/{method}"
        assert how is not None
        return {
            **same("aligned", "crop_id", "image_id", "uri"),
            "pair_id": ("aligned.crop_id",),
            "target_label": (f"{augmented}.target_label", f"attributes.score_{how.target}"),
            "protected_label": (
                f"{augmented}.protected_label",
                f"attributes.score_{how.protected}",
            ),
            REST: (f"{augmented}.sample_id", "aligned.crop_id"),
        }

    def plan(self, run: StageRun, store: Store, shard: str) -> ShardPlan:
        """Write the set, unless a sound one is there, then its index shard by shard."""
        from invertory.ops.export import Recode, exported_rows
        from invertory.pipelines.tables.export_set import (
            boundaries_of,
            index_of,
            plan_of,
            write_sets,
        )

        augmented = f"augmentation/{run.stage.method}"
        shards = store.shards("aligned")
        num_inputs = sum(store.num_rows("aligned", name) for name in shards)

        def rows(name: str) -> Iterator[pa.RecordBatch]:
            crops = store.read("aligned", name, batch_rows=64)
            partners = store.read(augmented, name, batch_rows=64)
            return exported_rows(plan, crops, partners, recode)

        def every_row() -> Iterator[pa.RecordBatch]:
            return chain.from_iterable(map(rows, shards))

        boundaries, image = boundaries_of(run, store), run.recipe.export.image
        plan = plan_of(run, store, boundaries)
        recode = Recode(size_px=image.size_px, format=image.format)

        def chunks(start: int) -> Iterator[Chunk]:
            write_sets(run, store, plan, boundaries, every_row)
            if start >= num_inputs:
                return
            with run.progress.stage(run.stage.table, num_inputs, start) as bar:
                for name in shards:
                    number = store.num_rows("aligned", name)
                    start -= number
                    if number and start < 0:
                        bar.advance(number, 0)
                        yield index_of(number, rows(name))

        return ShardPlan(schema=schemas.EXPORT_INDEX, chunks=chunks, num_inputs=num_inputs)
