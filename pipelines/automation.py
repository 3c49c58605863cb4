"""What runs by itself: a sensor for new images, sensors for later phases, a schedule for the rest.

Dagster's own automation conditions do not replace these. `AutomationCondition.eager()` asks for a
partition when an upstream *asset event* is newer; here a shard is stale when its *key* differs,
which also counts code, configuration and weights, and a later phase waits for every shard of the
earlier ones. A condition also cannot list a bucket and deal its files to shards.
"""

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
from invertory.pipelines.tables.registry import chain_of
from invertory.pipelines.tables.stage import ALL, Stage, Step
from invertory.resources.models import ModelStore
from invertory.resources.redaction import scrubbed
from invertory.resources.tables import Store, Tables

Job = Any  # of `define_asset_job`; Dagster does not export its type
RUNS_A_TICK = 100  # a tick has 60 s; the next tick requests the rest
NAMES = {
    "invert": ("invert_shard", "The chain of one shard; tables that are up to date are reused."),
    "edit": ("edit_shard", "One shard's tables that need boundaries fitted on all shards."),
    "fit": ("fit_boundaries", "Boundaries that are fitted on all shards."),
    "export": ("export_set", "The balanced set over all shards, with its datasheet."),
}


def jobs_of(recipe: Recipe, chain: Chain) -> dict[str, Job]:
    """A job for each phase of the chain, by the phase's verb."""
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
    """Deals new images to shards and requests one run for each shard, once."""

    @dg.sensor(
        name=f"{recipe.name}_new_images",
        job=job,
        minimum_interval_seconds=recipe.sensor.interval_s,
        description="New images of the collection become shards; each shard is run once.",
    )
    def new_images(
        context: dg.SensorEvaluationContext, tables: Tables, models: ModelStore
    ) -> dg.SensorResult | dg.SkipReason:
        store = tables.store(recipe.name)
        fresh = _after(store.shards("entries"), context.cursor)
        if not fresh:  # otherwise the last tick was cut off; the shards it dealt come first
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
            return dg.SkipReason(f"no new image in {recipe.collection.uri}")
        requested = fresh[:RUNS_A_TICK]
        keys = Keys(store)
        missing = [shard for shard in requested if keys("images", shard) is None]
        return dg.SensorResult(
            run_requests=[
                dg.RunRequest(run_key=digest(shard, keys("entries", shard)), partition_key=shard)
                for shard in missing
            ],
            skip_reason=None if missing else "a run has begun every new shard already",
            dynamic_partitions_requests=[shards_of(recipe.name).build_add_request(requested)],
            cursor=requested[-1],
        )

    return new_images


def _after(shards: list[str], cursor: str | None) -> list[str]:
    """The shards after the last requested one; they are numbered in the order of dealing."""
    return [shard for shard in shards if shard > (cursor or "")]


def ready_sensor_of(recipe: Recipe, verb: str, job: Job) -> dg.SensorDefinition:
    """Requests a later phase once every shard of the earlier phases is up to date."""

    @dg.sensor(
        name=f"{recipe.name}_{verb}_when_ready",
        job=job,
        minimum_interval_seconds=recipe.sensor.interval_s,
        description=f"{NAMES[verb][1]} Requested once all earlier tables are up to date.",
    )
    def when_ready(
        context: dg.SensorEvaluationContext, tables: Tables, models: ModelStore
    ) -> list[dg.RunRequest] | dg.SkipReason:
        store = tables.store(recipe.name)
        wanted = _wanted(context.instance, recipe, models, store, verb, is_retrying=False)
        if isinstance(wanted, dg.SkipReason):
            return wanted
        return [
            dg.RunRequest(run_key=key, partition_key=shard) for shard, key in wanted[:RUNS_A_TICK]
        ]

    return when_ready


def schedule_of(recipe: Recipe, verb: str, job: Job) -> dg.ScheduleDefinition:
    """At the recipe's time, one run for every shard in which a table is missing or stale."""
    assert recipe.schedule is not None, recipe.name

    @dg.schedule(
        name=f"{recipe.name}_catch_up" + ("" if verb == "invert" else f"_{verb}"),
        job=job,
        cron_schedule=recipe.schedule.cron,
        execution_timezone=recipe.schedule.timezone,
        description=f"{NAMES[verb][1]} Only where a table is missing or stale by its key.",
    )
    def catch_up(
        context: dg.ScheduleEvaluationContext, tables: Tables, models: ModelStore
    ) -> list[dg.RunRequest] | dg.SkipReason:
        store = tables.store(recipe.name)
        wanted = _wanted(context.instance, recipe, models, store, verb, is_retrying=True)
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
    recipe: Recipe,
    models: ModelStore,
    store: Store,
    verb: str,
    *,
    is_retrying: bool,
) -> list[tuple[str | None, str]] | dg.SkipReason:
    """[(shard, run key), ...] of the runs that compute what is missing or stale in a phase.

    Retries do not hold a later phase back. Only a schedule requests them, once each time it is due.
    The chain is built anew: a network may have been trained since the code location was loaded.
    """
    chain = chain_of(recipe, models)
    phase = phases_of(chain)[verb]
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
    """A run key changes with the tables that the phase reads from outside, and with its code."""
    inside = {stage.table for stage in phase}

    def outside(stage: Stage, shard: str) -> list[Any]:
        read = [i for i in chain.inputs(stage, shard, keys) if i[0] not in inside]
        return [stage.table, stage.version, read]

    shared = digest([outside(stage, ALL) for stage in phase if not stage.is_sharded])
    for shard in _shards(phase, pending, keys):
        own = [outside(stage, shard) for stage in phase if stage.is_sharded and shard]
        yield shard, digest(shared, shard, own)


def _shards(phase: list[Stage], pending: list[Step], keys: Keys) -> list[str | None]:
    """Shards to run; tables without shards come with the first shard, or alone."""
    if not any(stage.is_sharded for stage in phase):
        return [None]
    shards = {step.shard for step in pending if step.stage in phase} - {ALL}
    return [*(sorted(shards) or keys.shards[:1])]
