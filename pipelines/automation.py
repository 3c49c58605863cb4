"""What runs by itself: sensors for new pictures and for what waits, a schedule for the rest."""

# No `from __future__ import annotations` here: Dagster reads the annotations of a sensor.
from collections.abc import Iterator
from typing import Any

import dagster as dg

from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.intake import deal_new
from invertory.pipelines.digests import digest
from invertory.pipelines.errors.explain import explain_error
from invertory.pipelines.partitions import partitions_name, shards_of
from invertory.pipelines.recipe.recipe import Recipe
from invertory.pipelines.tables.chain import Chain, Keys
from invertory.pipelines.tables.stage import ALL, Stage, Step
from invertory.resources.models import ModelStore
from invertory.resources.redaction import scrubbed
from invertory.resources.tables import Store, Tables

Job = Any  # what `define_asset_job` gives; Dagster does not export its type
RUNS_A_TICK = 100  # a tick has 60 s; the rest is asked for at the next one
NAMES = {
    "invert": ("invert_shard", "The chain of one shard; what is up to date is reused."),
    "edit": ("edit_shard", "What needs boundaries that are fitted on all shards, for one shard."),
    "fit": ("fit_boundaries", "Boundaries that are fitted on all shards."),
    "export": ("export_set", "The balanced set over all shards, with its datasheet."),
}


def jobs_of(recipe: Recipe, chain: Chain) -> dict[str, Job]:
    """A job for each phase of the chain, by the verb that it is called by."""
    return {
        verb: dg.define_asset_job(
            f"{recipe.name}_{NAMES[verb][0]}",
            selection=dg.AssetSelection.assets(*(dg.AssetKey(s.asset_path) for s in phase)),
            description=NAMES[verb][1],
        )
        for verb, phase in phases_of(chain).items()
    }


def phases_of(chain: Chain) -> dict[str, list[Stage]]:
    """The chain's phases by a verb: invert; edit, or fit where nothing is sharded; export."""
    return {_verb(number, phase): phase for number, phase in enumerate(chain.phases())}


def _verb(number: int, phase: list[Stage]) -> str:
    if not number:
        return "invert"
    if any(stage.name == "exports" for stage in phase):
        return "export"
    return "edit" if any(stage.is_sharded for stage in phase) else "fit"


def sensor_of(recipe: Recipe, job: Job) -> dg.SensorDefinition:
    """Deals new pictures to shards and asks for one run a shard, once."""

    @dg.sensor(
        name=f"{recipe.name}_new_images",
        job=job,
        minimum_interval_seconds=recipe.sensor.interval_s,
        description="New pictures of the collection become shards; each shard is run once.",
    )
    def new_images(
        context: dg.SensorEvaluationContext, tables: Tables, models: ModelStore
    ) -> dg.SensorResult | dg.SkipReason:
        store = tables.store(recipe.name)
        fresh = _after(store.shards("entries"), context.cursor)
        if not fresh:  # otherwise the last tick was cut off: first what it had dealt
            try:
                source = Collection(recipe, models)
                deal_new(
                    store,
                    source,
                    recipe.collection.shard_size,
                    settle_s=recipe.sensor.settle_s,
                    max_shards=RUNS_A_TICK,
                    waiting=context.log.info,
                )
            except Exception as error:  # clients of object stores have exceptions of their own
                clean = scrubbed(error)
                context.log.warning("the collection cannot be listed", exc_info=clean)
                return dg.SkipReason(f"the collection cannot be listed: {explain_error(error)}")
            fresh = _after(store.shards("entries"), context.cursor)
        if not fresh:
            return dg.SkipReason(f"no new picture in {recipe.collection.uri}")
        asked = fresh[:RUNS_A_TICK]
        keys = Keys(store)
        missing = [shard for shard in asked if keys("images", shard) is None]
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(run_key=digest(shard, keys("entries", shard)), partition_key=shard)
                for shard in missing
            ],
            skip_reason=None if missing else "a run has begun every new shard already",
            dynamic_partitions_requests=[shards_of(recipe.name).build_add_request(asked)],
            cursor=asked[-1],
        )

    return new_images


def _after(shards: list[str], cursor: str | None) -> list[str]:
    """Shards are numbered as they are dealt, so that the last one asked for is all to remember."""
    return [shard for shard in shards if shard > (cursor or "")]


def ready_sensor_of(
    recipe: Recipe, chain: Chain, verb: str, phase: list[Stage], job: Job
) -> dg.SensorDefinition:
    """Asks for a later phase when every shard of the earlier ones is up to date, and not before."""

    @dg.sensor(
        name=f"{recipe.name}_{verb}_when_ready",
        job=job,
        minimum_interval_seconds=recipe.sensor.interval_s,
        description=f"{NAMES[verb][1]} Asked for once all before it is up to date and it is not.",
    )
    def when_ready(
        context: dg.SensorEvaluationContext, tables: Tables
    ) -> list[dg.RunRequest] | dg.SkipReason:
        store = tables.store(recipe.name)
        wanted = _wanted(context.instance, chain, store, phase, is_retrying=False)
        if isinstance(wanted, dg.SkipReason):
            return wanted
        return [
            dg.RunRequest(run_key=key, partition_key=shard) for shard, key in wanted[:RUNS_A_TICK]
        ]

    return when_ready


def schedule_of(
    recipe: Recipe, chain: Chain, verb: str, phase: list[Stage], job: Job
) -> dg.ScheduleDefinition:
    """At the recipe's hour, one run for every shard in which a table is missing or stale."""
    assert recipe.schedule is not None, recipe.name

    @dg.schedule(
        name=f"{recipe.name}_catch_up" + ("" if verb == "invert" else f"_{verb}"),
        job=job,
        cron_schedule=recipe.schedule.cron,
        execution_timezone=recipe.schedule.timezone,
        description=f"{NAMES[verb][1]} Only where a table is missing or stale by its key.",
    )
    def catch_up(
        context: dg.ScheduleEvaluationContext, tables: Tables
    ) -> list[dg.RunRequest] | dg.SkipReason:
        store = tables.store(recipe.name)
        wanted = _wanted(context.instance, chain, store, phase, is_retrying=True)
        if isinstance(wanted, dg.SkipReason):
            return wanted
        moment = context.scheduled_execution_time.isoformat()
        return [
            dg.RunRequest(run_key=digest(moment, shard, key), partition_key=shard)
            for shard, key in wanted
        ]

    return catch_up


def _wanted(
    instance: dg.DagsterInstance,
    chain: Chain,
    store: Store,
    phase: list[Stage],
    *,
    is_retrying: bool,
) -> list[tuple[str | None, str]] | dg.SkipReason:
    """[(shard, run key), ...] of the runs that make what is missing or stale in the phase.

    Retries hold no later phase back, and only a schedule asks for them: once each time it is due.
    """
    own = {stage.table for stage in phase}
    pending = [
        step
        for step in chain.pending(store)
        if not step.is_retry or (is_retrying and step.stage.table in own)
    ]
    if not any(step.stage in phase for step in pending):
        return dg.SkipReason("every table is up to date")
    if pending[0].stage not in phase:
        return dg.SkipReason(f"waits for {pending[0].stage.table} of {pending[0].shard}")
    keys = Keys(store)
    if not keys.shards:
        return dg.SkipReason("waits for the first shard")
    instance.add_dynamic_partitions(partitions_name(chain.recipe), keys.shards)
    return list(_runs(chain, phase, pending, keys))


def _runs(
    chain: Chain, phase: list[Stage], pending: list[Step], keys: Keys
) -> Iterator[tuple[str | None, str]]:
    """A key is the same until what the phase reads from outside changes, or its code."""
    inside = {stage.table for stage in phase}

    def outside(stage: Stage, shard: str) -> list[Any]:
        read = [i for i in chain.inputs(stage, shard, keys) if i[0] not in inside]
        return [stage.table, stage.version, read]

    shared = digest([outside(stage, ALL) for stage in phase if not stage.is_sharded])
    for shard in _shards(phase, pending, keys):
        own = [outside(stage, shard) for stage in phase if stage.is_sharded and shard]
        yield shard, digest(shared, shard, own)


def _shards(phase: list[Stage], pending: list[Step], keys: Keys) -> list[str | None]:
    """Shards to run; what spans all shards comes with any, or alone where nothing is sharded."""
    if not any(stage.is_sharded for stage in phase):
        return [None]
    shards = {step.shard for step in pending if step.stage in phase} - {ALL}
    return [*(sorted(shards) or keys.shards[:1])]
