"""Run a recipe from the command line: what is missing or stale, phase by phase, in Dagster runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml

from invertory.pipelines.assets import assets_of
from invertory.pipelines.cli.answers import is_debugging
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.intake import deal_new
from invertory.pipelines.definitions import resources
from invertory.pipelines.networks.resolve import prefetch
from invertory.pipelines.partitions import partitions_name
from invertory.pipelines.processes.abandoned import fail_unfinished, free_abandoned, living
from invertory.pipelines.processes.dagster_home import dagster_home, open_instance
from invertory.pipelines.processes.stopping import Stop, bounded_stop
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.registry import chain_of
from invertory.pipelines.tables.stage import ALL, Stage, Step
from invertory.resources.addresses import Address
from invertory.resources.atomic import write_private
from invertory.resources.redaction import redacted
from invertory.resources.verification import num_set_aside

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress
    from invertory.pipelines.progress.reporting import Reporting
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store

MAX_PASSES = 5  # each but the first computes a file again that the one before found corrupt


@dataclass(kw_only=True)
class Report:
    """What a run did."""

    recipe: str
    new_shards: list[str]
    num_computed: int = 0
    elapsed_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    corrupt: list[str] = field(default_factory=list)  # steps that met a corrupt file, run again
    run_ids: list[str] = field(default_factory=list)

    @property
    def is_up_to_date(self) -> bool:
        return not self.num_computed and not self.failures


def derived(recipe: Recipe, uri: str) -> Recipe:
    """`recipe` on other pictures, under a name of its own; kept, so that the UI has it too."""
    made = recipe.with_collection(uri)
    path = dagster_home() / "recipes" / f"{made.name}.yaml"
    path.parent.mkdir(exist_ok=True)
    write_private(path, yaml.safe_dump(kept(made.model_dump()), sort_keys=False))
    return made


def kept(value: Any) -> Any:
    """A recipe's values as its file may hold them: `${NAME}` in addresses, and no credentials."""
    if isinstance(value, Address):
        return value.kept
    if isinstance(value, dict):
        return {key: kept(part) for key, part in value.items()}
    return [kept(part) for part in value] if isinstance(value, tuple | list) else value


def run_recipe(recipe: Recipe, reporting: Reporting, progress: Progress) -> Report:
    """Have the weights at hand, deal new pictures, then compute what is missing or stale."""
    began = time.monotonic()
    dagster_home()
    world = {**resources(), "reporting": reporting}
    store: Store = world["tables"].store(recipe.name)
    chain = chain_of(recipe)
    fresh = _deal(recipe, world["models"], store, progress)
    for stage in chain.stages:
        store.tidy(stage.table)
    report = Report(recipe=recipe.name, new_shards=fresh)
    for _ in range(MAX_PASSES):
        before = num_set_aside(store)
        _run_pending(recipe, chain, store, world, report, progress)
        if not report.failures or num_set_aside(store) == before:
            break
        report.corrupt += report.failures  # and now what they stumbled over is computed again
        report.failures = []
    report.elapsed_s = time.monotonic() - began
    return report


def _run_pending(
    recipe: Recipe,
    chain: Chain,
    store: Store,
    world: dict[str, Any],
    report: Report,
    progress: Progress,
) -> None:
    """Compute what is missing or stale, phase by phase, up to the first failure."""
    if not any(chain.pending(store)):
        return
    with (
        open_instance(progress.note) as instance,
        living(dagster_home()) as tags,
        bounded_stop(lambda: fail_unfinished(instance, tags)) as stop,
    ):
        free_abandoned(instance)
        instance.add_dynamic_partitions(partitions_name(recipe.name), store.shards("entries"))
        assets = assets_of(recipe, chain, pool=None)
        for phase in chain.phases():
            for is_retry in (True, False):  # what a retry brings makes the rest stale
                steps = [s for s in chain.pending(store) if s.is_retry is is_retry]
                _run_phase(assets, phase, steps, store, instance, world, tags, report, stop)
            if report.failures:
                return


def _deal(recipe: Recipe, models: ModelStore, store: Store, progress: Progress) -> list[str]:
    """Networks and collections fetched, new pictures in shards; the listing is let go of here."""
    with progress.download("weights") as received:
        prefetch(recipe, models, received)
        source = Collection(recipe, models, received)
    return deal_new(store, source, recipe.collection.shard_size, waiting=progress.note)


def _run_phase(
    assets: Sequence[dg.AssetsDefinition | dg.AssetSpec],
    phase: list[Stage],
    pending: list[Step],
    store: Store,
    instance: dg.DagsterInstance,
    world: dict[str, Any],
    tags: dict[str, str],
    report: Report,
    stop: Stop,
) -> None:
    """A run for each shard with something to compute; one that fails lets the others go on."""
    for shard, steps in _by_shard(pending, phase):
        before = [store.key(step.stage.table, step.shard) for step in steps]
        result = dg.materialize(
            assets,
            selection=[dg.AssetKey(step.stage.asset_path) for step in steps],
            partition_key=None if shard == ALL else shard,
            instance=instance,
            resources=world,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={"invertory/recipe": report.recipe, **tags},
        )
        stop.check()
        if _was_interrupted(result):
            raise KeyboardInterrupt  # which Dagster has recorded as a failure of the run
        report.run_ids.append(result.run_id)
        report.num_computed += sum(
            not step.is_retry or store.key(step.stage.table, step.shard) != key
            for step, key in zip(steps, before, strict=True)
        )
        report.failures.extend(_failures(result, shard))
        if report.failures and any(step.shard == ALL for step in steps):
            return  # the other shards read the table that this run was to make


def _by_shard(steps: list[Step], phase: list[Stage]) -> list[tuple[str, list[Step]]]:
    """The steps of each run: a shard's; tables without shards are made in the first run."""
    tables = {stage.table for stage in phase}
    wanted = [step for step in steps if step.stage.table in tables]
    shards = list(dict.fromkeys(step.shard for step in wanted if step.shard != ALL)) or [ALL]
    return [
        (shard, [s for s in wanted if s.shard == shard or (s.shard == ALL and not number)])
        for number, shard in enumerate(shards)
        if wanted
    ]


def _was_interrupted(result: dg.ExecuteInProcessResult) -> bool:
    errors = [event.step_failure_data.error for event in result.get_step_failure_events()]
    interrupts = {KeyboardInterrupt.__name__, dg.DagsterExecutionInterruptedError.__name__}
    return any(error and error.cls_name in interrupts for error in errors)


def _failures(result: dg.ExecuteInProcessResult, shard: str) -> Iterator[str]:
    for event in result.all_events:
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            error = event.step_failure_data.error
            cause = error.cause or error if error else None
            text = " ".join(cause.message.split()) if cause else "unknown error"
            text = text.removeprefix("dagster._core.definitions.events.Failure: ")
            if error and is_debugging():
                print(redacted(error.to_string()), file=sys.stderr)
            yield redacted(f"{event.step_key} ({shard}): {text}")
