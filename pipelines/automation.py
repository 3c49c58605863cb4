"""What runs by itself: a sensor for new pictures, a schedule for what is missing or stale."""

# No `from __future__ import annotations` here: Dagster reads the annotations of a sensor.
import json
from typing import Any

import dagster as dg

from pipelines.chain import ALL, Chain, Keys, digest
from pipelines.collection import Collection
from pipelines.intake import deal_new
from pipelines.partitions import partitions_name, shards_of
from pipelines.recipe import Recipe
from resources.models import ModelStore
from resources.tables import Tables

Job = Any  # what `define_asset_job` gives; Dagster does not export its type


def jobs_of(recipe: Recipe, chain: Chain) -> dict[str, Job]:
    """`shard`: the chain of one shard up to its edits; `export`: what spans all shards."""
    keys: dict[bool, list[dg.AssetKey]] = {True: [], False: []}
    for stage in chain.stages:
        keys[stage.name == "exports"].append(dg.AssetKey(stage.asset_path))
    jobs = {
        "shard": dg.define_asset_job(
            f"{recipe.name}_invert_shard",
            selection=dg.AssetSelection.assets(*keys[False]),
            description="The whole chain of one shard; what is up to date is reused.",
        )
    }
    if keys[True]:
        jobs["export"] = dg.define_asset_job(
            f"{recipe.name}_export_set",
            selection=dg.AssetSelection.assets(*keys[True]),
            description="The balanced set over all shards, with its datasheet.",
        )
    return jobs


def sensor_of(recipe: Recipe, job: Job) -> dg.SensorDefinition:
    """Deals new pictures to shards and asks for one run a shard, once."""

    @dg.sensor(
        name=f"{recipe.name}_new_images",
        job=job,
        minimum_interval_seconds=recipe.sensor.interval_s,
        description="New pictures of the collection become shards; each shard is run once.",
    )
    def new_images(context: dg.SensorEvaluationContext, tables: Tables, models: ModelStore):
        store = tables.store(recipe.name)
        source = Collection(recipe, models)
        deal_new(store, source, recipe.collection.shard_size, settle_s=recipe.sensor.settle_s)
        asked = set(json.loads(context.cursor or "[]"))
        fresh = [shard for shard in store.shards("entries") if shard not in asked]
        if not fresh:
            return dg.SkipReason(f"no new picture in {', '.join(recipe.collection.uris)}")
        return dg.SensorResult(
            run_requests=[dg.RunRequest(run_key=f"{s}", partition_key=s) for s in fresh],
            dynamic_partitions_requests=[shards_of(recipe.name).build_add_request(fresh)],
            cursor=json.dumps(sorted(asked | set(fresh))),
        )

    return new_images


def schedule_of(recipe: Recipe, chain: Chain, job: Job) -> dg.ScheduleDefinition:
    """At the recipe's hour, one run for every shard in which a table is missing or stale."""
    assert recipe.schedule is not None, recipe.name

    @dg.schedule(
        name=f"{recipe.name}_catch_up",
        job=job,
        cron_schedule=recipe.schedule.cron,
        execution_timezone=recipe.schedule.timezone,
        description="Runs what is missing or stale by its key; up-to-date shards are left alone.",
    )
    def catch_up(context: dg.ScheduleEvaluationContext, tables: Tables):
        store = tables.store(recipe.name)
        shards = store.shards("entries")
        pending = {s.shard for s in chain.pending(store) if s.stage.name != "exports"}
        if ALL in pending and len(pending) == 1:
            pending = set(shards[:1])  # its run computes what spans all shards
        if not pending - {ALL}:
            return dg.SkipReason("every table of every shard is up to date")
        context.instance.add_dynamic_partitions(partitions_name(recipe.name), shards)
        moment = context.scheduled_execution_time.isoformat()
        return [
            dg.RunRequest(run_key=digest(moment, shard), partition_key=shard)
            for shard in sorted(pending - {ALL})
        ]

    return catch_up


def export_sensor_of(recipe: Recipe, chain: Chain, job: Job) -> dg.SensorDefinition:
    """Asks for the export when it is all that is missing: never of a half-made collection."""

    @dg.sensor(
        name=f"{recipe.name}_export_when_ready",
        job=job,
        minimum_interval_seconds=recipe.sensor.interval_s,
        description="Exports the set anew once every shard is up to date and the set is not.",
    )
    def export_when_ready(context: dg.SensorEvaluationContext, tables: Tables):
        store = tables.store(recipe.name)
        pending = list(chain.pending(store))
        if not pending:
            return dg.SkipReason("the set is up to date")
        if any(step.stage.name != "exports" for step in pending):
            return dg.SkipReason(f"waits for {pending[0].stage.table} of {pending[0].shard}")
        keys = Keys(store)
        wanted = [chain.key(step.stage, step.shard, keys) for step in pending]
        return dg.RunRequest(run_key=digest(wanted))

    return export_when_ready
