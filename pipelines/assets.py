"""The assets of a recipe: one for each table, in the order of the data, methods side by side.

Every asset is a function of one factory, `asset_of`, under the name of its table; the table's page
in `tables` describes what it computes. A page decides whether its asset needs a GPU, so resources
are required by key: a parameter with a type would need a second factory for the assets without one.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations of an asset.
from collections.abc import Iterator, Mapping, Sequence
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
from invertory.pipelines.training.training import TrainingSpec
from invertory.resources.models import ModelStore

POOL = "gpu"
Trained = Mapping[str, Sequence[dg.AssetKey]]  # digest of weights => the trainings that made them


def assets_of(
    recipe: Recipe, chain: Chain, trained: Trained, *, pool: str | None = POOL
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every table of `recipe` as an asset, and what a stage gathers from all shards as one.

    A slot of a Dagster pool outlives a killed process, and Dagster polls for a free one without
    pause and without handling signals. The command line passes `pool=None`: it leases the device
    by a lock, which the kernel frees.
    """
    tables = [asset_of(recipe, chain, stage, trained, pool) for stage in chain.stages]
    return [*tables, *(gathered(recipe, chain, s) for s in chain.stages if chain.gathers(s))]


def trained_networks(
    recipe: Recipe, models: ModelStore, trainings: Sequence[TrainingSpec]
) -> Trained:
    """The recipe's networks that a training made, bundled ones included."""
    networks = networks_of(recipe, models).values()
    return {n.sha256: deps_of([n.card.source], trainings) for n in networks if n.sha256}


def asset_of(
    recipe: Recipe, chain: Chain, stage: Stage, trained: Trained, pool: str | None
) -> dg.AssetsDefinition:
    """One table as an asset; its function bears the table's name.

    A stage that computes on a device is in `pool`, and leases a device only when there is work.
    """

    def compute(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult[None]]:
        resources = context.resources
        own = stage.page.stage(recipe, stage.method, resources.models)  # by this run's model store
        gpu = resources.gpu if own.page.is_on_device else None
        run = StageRun(recipe, own, resources.models, resources.reporting.to(context), gpu)
        yield from materialize(context, chain, own, resources.tables.store(recipe.name), run)

    compute.__name__ = stage.asset_path[-1]
    compute.__doc__ = stage.page.description
    asset: dg.AssetsDefinition = dg.asset(**_options(recipe, chain, stage, trained, pool))(compute)
    return asset


def gathered(recipe: Recipe, chain: Chain, stage: Stage) -> dg.AssetSpec:
    """All shards that `stage` reads, as one asset whose data version Dagster compares.

    The run of each shard reports it.
    """
    return dg.AssetSpec(
        key=stage.gathered_path,
        group_name=recipe.name,
        description=f"All shards that {stage.table} reads, in one data version.",
        deps=[_dep(stage, i.table, i.shards) for i in chain.gathers(stage)],
        owners=[recipe.owner],
    )


def _options(
    recipe: Recipe, chain: Chain, stage: Stage, trained: Trained, pool: str | None
) -> dict[str, Any]:
    """The arguments of `dg.asset`."""
    deps = [_dep(stage, i.table, i.shards) for i in stage.inputs if i.table != "entries"]
    if chain.gathers(stage):
        deps.append(dg.AssetDep(stage.gathered_path))
    makers = [key for sha256 in stage.models.values() for key in trained.get(sha256, ())]
    deps += [dg.AssetDep(key) for key in dict.fromkeys(makers)]
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


def _dep(stage: Stage, table: str, shards: str) -> dg.AssetDep:
    key = dg.AssetKey(asset_path(stage.recipe, table))
    if shards == "all":
        return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
    return dg.AssetDep(key)
