"""The assets of a recipe: one a table, in the order of the data, methods side by side.

What computes a table lies in `pipelines.verbs`, what it depends on in `pipelines.stages`.
"""

# No `from __future__ import annotations` here: Dagster reads the annotations of an asset.
from typing import Any

import dagster as dg

from pipelines.chain import Chain, Stage
from pipelines.partitions import shards_of
from pipelines.produce import produce
from pipelines.quality import check_specs
from pipelines.recipe import Recipe
from pipelines.reporting import Reporting
from pipelines.verbs import Line
from resources.gpu import Gpu
from resources.models import ModelStore
from resources.tables import Tables

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
ON_DEVICE = {"samples", "latents", "edits", "augmentation"}


def assets_of(recipe: Recipe, chain: Chain) -> list[dg.AssetsDefinition]:
    """Every table of `recipe` as an asset."""
    return [
        (on_device if stage.name in ON_DEVICE else on_host)(recipe, chain, stage)
        for stage in chain.stages
    ]


def on_host(recipe: Recipe, chain: Chain, stage: Stage) -> dg.AssetsDefinition:
    """An asset that needs no accelerator."""

    @dg.asset(**_about(recipe, stage))
    def asset(
        context: dg.AssetExecutionContext,
        tables: Tables,
        models: ModelStore,
        reporting: dg.ResourceParam[Reporting],
    ):
        line = Line(recipe, stage, models, reporting.to(context))
        return produce(context, chain, stage, tables.store(recipe.name), line.make)

    return asset


def on_device(recipe: Recipe, chain: Chain, stage: Stage) -> dg.AssetsDefinition:
    """An asset that computes on a leased device; the lease is taken when there is work to do."""

    @dg.asset(pool="gpu", **_about(recipe, stage))
    def asset(
        context: dg.AssetExecutionContext,
        tables: Tables,
        models: ModelStore,
        reporting: dg.ResourceParam[Reporting],
        gpu: Gpu,
    ):
        line = Line(recipe, stage, models, reporting.to(context), gpu)
        return produce(context, chain, stage, tables.store(recipe.name), line.make)

    return asset


def _about(recipe: Recipe, stage: Stage) -> dict[str, Any]:
    kinds = {"pytorch"} if stage.name in ON_DEVICE else KINDS.get(stage.name, set())
    return {
        "key": stage.asset_path,
        "group_name": recipe.name,
        "description": DESCRIPTIONS[stage.name],
        "deps": [_dep(stage, i.table, i.shards) for i in stage.inputs if i.table != "entries"],
        "partitions_def": shards_of(recipe.name) if stage.is_sharded else None,
        "code_version": stage.version,
        "kinds": {"parquet", *kinds},
        "owners": [recipe.owner],
        "check_specs": check_specs(stage),
        "retry_policy": dg.RetryPolicy(
            max_retries=recipe.resources.retries, delay=5, backoff=dg.Backoff.EXPONENTIAL
        ),
        "metadata": {"recipe": recipe.name, "method": stage.method or "none"},
        "tags": {"invertory/stage": stage.name},
    }


def _dep(stage: Stage, table: str, shards: str) -> dg.AssetDep:
    key = dg.AssetKey([stage.recipe, *table.split("/")])
    if shards == "all":
        return dg.AssetDep(key, partition_mapping=dg.AllPartitionMapping())
    return dg.AssetDep(key)
