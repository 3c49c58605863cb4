"""The assets of a recipe: one a table, in the order of the data, methods side by side.

What a table is and how it is made stands on its page in `tables`.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations of an asset.
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from invertory.pipelines.checks import check_specs
from invertory.pipelines.materialize import materialize
from invertory.pipelines.networks.resolve import networks_of
from invertory.pipelines.partitions import shards_of
from invertory.pipelines.recipe.recipe import Recipe
from invertory.pipelines.retry import Retry
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.stage import Stage, asset_path
from invertory.pipelines.tables.stage_run import StageRun
from invertory.pipelines.training.assets import deps_of
from invertory.pipelines.training.training import TrainingSpec, valid_trainings

POOL = "gpu"


def assets_of(
    recipe: Recipe, chain: Chain, *, pool: str | None = POOL
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every table of `recipe` as an asset, and what a stage gathers from all shards as one.

    A slot of a Dagster pool outlives a killed process, and Dagster waits for one at full speed and
    deaf to signals. The command line passes `pool=None`: it holds a device's lease, which the
    kernel frees.
    """
    trainings = valid_trainings() if any(_trainable(recipe, s) for s in chain.stages) else []
    tables = [asset_of(recipe, chain, stage, pool, trainings) for stage in chain.stages]
    return [*tables, *(gathered(recipe, chain, s) for s in chain.stages if chain.gathers(s))]


def asset_of(
    recipe: Recipe,
    chain: Chain,
    stage: Stage,
    pool: str | None,
    trainings: Sequence[TrainingSpec],
) -> dg.AssetsDefinition:
    """One table as an asset; its function bears the table's name.

    A stage that computes on a device is in `pool`, and leases a device only when there is work.
    """

    def compute(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        given = context.resources
        gpu = given.gpu if stage.page.is_on_device else None
        run = StageRun(recipe, stage, given.models, given.reporting.to(context), gpu)
        yield from materialize(context, chain, stage, given.tables.store(recipe.name), run)

    compute.__name__ = stage.asset_path[-1]
    compute.__doc__ = stage.page.description
    return dg.asset(**_about(recipe, chain, stage, pool, trainings))(compute)


def gathered(recipe: Recipe, chain: Chain, stage: Stage) -> dg.AssetSpec:
    """What `stage` reads of all shards, for Dagster to compare; each shard's run brings it up."""
    return dg.AssetSpec(
        key=stage.gathered_path,
        group_name=recipe.name,
        description=f"All shards that {stage.table} reads, in one data version.",
        deps=[_dep(stage, i.table, i.shards) for i in chain.gathers(stage)],
        owners=[recipe.owner],
    )


def _about(
    recipe: Recipe,
    chain: Chain,
    stage: Stage,
    pool: str | None,
    trainings: Sequence[TrainingSpec],
) -> dict[str, Any]:
    deps = [_dep(stage, i.table, i.shards) for i in stage.inputs if i.table != "entries"]
    if chain.gathers(stage):
        deps.append(dg.AssetDep(stage.gathered_path))
    deps += [dg.AssetDep(key) for key in deps_of(_trainable(recipe, stage), trainings)]
    resources = {"tables", "models", "reporting"}
    return {
        "key": stage.asset_path,
        "group_name": recipe.name,
        "description": stage.page.description,
        "deps": deps,
        "partitions_def": shards_of(recipe.name) if stage.is_sharded else None,
        "code_version": stage.version,
        "kinds": {"parquet", *stage.page.kinds},
        "pool": pool if stage.page.is_on_device else None,
        "required_resource_keys": resources | ({"gpu"} if stage.page.is_on_device else set()),
        "owners": [recipe.owner],
        "check_specs": check_specs(stage),
        "retry_policy": Retry(recipe.resources.retries),
        "metadata": {"recipe": recipe.name, **({"method": stage.method} if stage.method else {})},
        "tags": {"invertory/stage": stage.name},
    }


def _trainable(recipe: Recipe, stage: Stage) -> list[str]:
    """Addresses of the stage's networks that a training may make: bundled and trained ones."""
    used = set(stage.models.values()) - {""}
    sources = [n.card.source for n in networks_of(recipe).values() if n.sha256 in used]
    return [source for source in sources if source.startswith(("bundled://", "trained://"))]


def _dep(stage: Stage, table: str, shards: str) -> dg.AssetDep:
    key = dg.AssetKey(asset_path(stage.recipe, table))
    if shards == "all":
        return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
    return dg.AssetDep(key)
