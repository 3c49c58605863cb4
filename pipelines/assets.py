"""The assets of a recipe: one a table, in the order of the data, methods side by side.

What computes a table lies in `invertory.pipelines.tables.verbs`, what it depends on in `invertory.pipelines.tables.stages`.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations of an asset.
from typing import Any

import dagster as dg

from invertory.pipelines.checks import check_specs
from invertory.pipelines.materialize import produce
from invertory.pipelines.networks.resolve import networks_of
from invertory.pipelines.partitions import shards_of
from invertory.pipelines.progress.reporting import Reporting
from invertory.pipelines.recipe.recipe import Recipe
from invertory.pipelines.retry import Retry
from invertory.pipelines.tables.chain import Chain, Stage, asset_path
from invertory.pipelines.tables.line import Line
from invertory.pipelines.training.assets import deps_of
from invertory.pipelines.training.training import valid_trainings
from invertory.resources.gpu import Gpu
from invertory.resources.models import ModelStore
from invertory.resources.tables import Tables

DESCRIPTIONS = {
    "models": "Every network that takes part: where it comes from, its digest and its licence.",
    "images": "Every file of the collection: hashed, decoded, validated; broken ones say why.",
    "aligned": "One row a crop: the FFHQ quad around a face with its inverse, or a centre crop.",
    "attributes": "Each crop's scores, raw as the recipe's scorers gave them.",
    "samples": "Draws from the generator with their scores; boundaries are fitted on them.",
    "latents": "Every crop inverted by one method: latent, losses, scores and its picture.",
    "boundaries": "A hyperplane (normal, offset, accuracy) for each attribute, or a direction.",
    "edits": "Each crop moved along each boundary: latent, picture, and scores after the edit.",
    "augmentation": "For each crop a partner, protected attribute flipped and target kept.",
    "exports": "The balanced set as WebDataset, image folder and Parquet, with its datasheet.",
}
KINDS = {"boundaries": {"scikitlearn"}, "exports": {"huggingface"}, "images": {"file"}}
POOL = "gpu"
ON_DEVICE = {"samples", "latents", "edits", "augmentation"}


def assets_of(
    recipe: Recipe, chain: Chain, *, pool: str | None = POOL
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """Every table of `recipe` as an asset, and what a stage gathers from all shards as one.

    A slot of a pool outlives a killed process, and Dagster waits for one at full speed and deaf to
    signals. The command line takes `pool=None`: it has the device's lease, which the kernel frees.
    """
    tables = [
        on_device(recipe, chain, stage, pool)
        if stage.name in ON_DEVICE
        else on_host(recipe, chain, stage)
        for stage in chain.stages
    ]
    return [*tables, *(gathered(recipe, chain, s) for s in chain.stages if chain.gathers(s))]


def on_host(recipe: Recipe, chain: Chain, stage: Stage) -> dg.AssetsDefinition:
    """An asset that needs no accelerator."""

    @dg.asset(**_about(recipe, chain, stage))
    def asset(
        context: dg.AssetExecutionContext,
        tables: Tables,
        models: ModelStore,
        reporting: dg.ResourceParam[Reporting],
    ):
        line = Line(recipe, stage, models, reporting.to(context))
        yield from produce(context, chain, stage, tables.store(recipe.name), line)

    return asset


def on_device(recipe: Recipe, chain: Chain, stage: Stage, pool: str | None) -> dg.AssetsDefinition:
    """An asset that computes on a leased device; the lease is taken when there is work to do."""

    @dg.asset(pool=pool, **_about(recipe, chain, stage))
    def asset(
        context: dg.AssetExecutionContext,
        tables: Tables,
        models: ModelStore,
        reporting: dg.ResourceParam[Reporting],
        gpu: Gpu,
    ):
        line = Line(recipe, stage, models, reporting.to(context), gpu)
        yield from produce(context, chain, stage, tables.store(recipe.name), line)

    return asset


def gathered(recipe: Recipe, chain: Chain, stage: Stage) -> dg.AssetSpec:
    """What `stage` reads of all shards, for Dagster to compare; each shard's run brings it up."""
    return dg.AssetSpec(
        key=stage.gathered_path,
        group_name=recipe.name,
        description=f"All shards that {stage.table} reads, in one data version.",
        deps=[_dep(stage, i.table, i.shards) for i in chain.gathers(stage)],
        owners=[recipe.owner],
    )


def _about(recipe: Recipe, chain: Chain, stage: Stage) -> dict[str, Any]:
    deps = [_dep(stage, i.table, i.shards) for i in stage.inputs if i.table != "entries"]
    if chain.gathers(stage):
        deps.append(dg.AssetDep(stage.gathered_path))
    deps += [dg.AssetDep(key) for key in _trained(recipe, stage)]
    kinds = {"pytorch"} if stage.name in ON_DEVICE else KINDS.get(stage.name, set())
    return {
        "key": stage.asset_path,
        "group_name": recipe.name,
        "description": DESCRIPTIONS[stage.name],
        "deps": deps,
        "partitions_def": shards_of(recipe.name) if stage.is_sharded else None,
        "code_version": stage.version,
        "kinds": {"parquet", *kinds},
        "owners": [recipe.owner],
        "check_specs": check_specs(stage),
        "retry_policy": Retry(recipe.resources.retries),
        "metadata": {"recipe": recipe.name, **({"method": stage.method} if stage.method else {})},
        "tags": {"invertory/stage": stage.name},
    }


def _trained(recipe: Recipe, stage: Stage) -> list[dg.AssetKey]:
    """The trainings that make the bundled or trained networks of the stage."""
    used = set(stage.models.values()) - {""}
    sources = [n.card.source for n in networks_of(recipe).values() if n.sha256 in used]
    return deps_of(sources, valid_trainings()) if sources else []


def _dep(stage: Stage, table: str, shards: str) -> dg.AssetDep:
    key = dg.AssetKey(asset_path(stage.recipe, table))
    if shards == "all":
        return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
    return dg.AssetDep(key)
