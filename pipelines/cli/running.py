"""Run a recipe from the command line: compute missing and stale tables phase by phase."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml

from invertory.pipelines.assets import assets_of, trained_networks
from invertory.pipelines.cli.output import is_debugging
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.intake import deal_new
from invertory.pipelines.networks.resolve import prefetch
from invertory.pipelines.partitions import partitions_name
from invertory.pipelines.processes.abandoned import fail_unfinished, free_abandoned, living
from invertory.pipelines.processes.dagster_home import dagster_home, open_instance
from invertory.pipelines.processes.stopping import Stop, bounded_stop
from invertory.pipelines.recipe.compatibility import check_fit
from invertory.pipelines.tables.chain import Chain
from invertory.pipelines.tables.registry import chain_of
from invertory.pipelines.tables.stage import ALL, Stage, Step
from invertory.pipelines.training.training import valid_trainings
from invertory.pipelines.world import resources
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

MAX_PASSES = 5  # every pass after the first recomputes files that the previous one found corrupt


@dataclass(kw_only=True)
class Report:
    """The result of running a recipe."""

    recipe: str
    new_shards: list[str]
    num_computed: int = 0
    elapsed_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    corrupt: list[str] = field(
        default_factory=list
    )  # steps that hit a corrupt file and were run again
    run_ids: list[str] = field(default_factory=list)

    @property
    def is_up_to_date(self) -> bool:
        return not self.num_computed and not self.failures


def derive_recipe(recipe: Recipe, uri: str) -> Recipe:
    """Derive a recipe for other images under its own name, and save it so that the UI has it."""
    derived = recipe.with_collection(uri)
    path = dagster_home() / "recipes" / f"{derived.name}.yaml"
    path.parent.mkdir(exist_ok=True)
    write_private(path, yaml.safe_dump(storable_values(derived.model_dump()), sort_keys=False))
    return derived


def storable_values(value: Any) -> Any:
    """Return a recipe's values for its file: addresses keep `${NAME}` but not credentials."""
    if isinstance(value, Address):
        return value.kept
    if isinstance(value, dict):
        return {key: storable_values(item) for key, item in value.items()}
    return [storable_values(item) for item in value] if isinstance(value, tuple | list) else value


def run_recipe(recipe: Recipe, reporting: Reporting, progress: Progress) -> Report:
    """Fetch the weights, split new images into shards, then compute what is missing or stale."""
    began = time.monotonic()
    dagster_home()
    world = {**resources(), "reporting": reporting}
    store: Store = world["tables"].store(recipe.name)
    chain = chain_of(recipe, world["models"])
    fresh = _deal(recipe, world["models"], store, progress)
    for stage in chain.stages:
        store.tidy(stage.table)
    report = Report(recipe=recipe.name, new_shards=fresh)
    for _ in range(MAX_PASSES):
        before = num_set_aside(store)
        _run_pending(recipe, chain, store, world, report, progress)
        if not report.failures or num_set_aside(store) == before:
            break
        report.corrupt += report.failures  # the next pass recomputes the corrupt files
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
    """Compute what is missing or stale, phase by phase, until the first failure."""
    if not any(chain.pending(store)):
        return
    with (
        open_instance(progress.note) as instance,
        living(dagster_home()) as tags,
        bounded_stop(lambda: fail_unfinished(instance, tags)) as stop,
    ):
        free_abandoned(instance)
        instance.add_dynamic_partitions(partitions_name(recipe.name), store.shards("entries"))
        trained = trained_networks(recipe, world["models"], valid_trainings(is_thorough=False))
        assets = assets_of(recipe, chain, trained, pool=None)
        for phase in chain.phases():
            for is_retry in (True, False):  # rows from a retry make later tables stale
                steps = [s for s in chain.pending(store) if s.is_retry is is_retry]
                _run_phase(assets, phase, steps, store, instance, world, tags, report, stop)
            if report.failures:
                return


def _deal(recipe: Recipe, models: ModelStore, store: Store, progress: Progress) -> list[str]:
    """Fetch networks and collections, then split new images into shards."""
    with progress.download("weights") as received:
        prefetch(recipe, models, received)
        check_fit(recipe, models)
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
            raise KeyboardInterrupt  # Dagster has recorded it as a failure of the run
        report.run_ids.append(result.run_id)
        report.num_computed += sum(
            not step.is_retry or store.key(step.stage.table, step.shard) != key
            for step, key in zip(steps, before, strict=True)
        )
        report.failures.extend(_failures(result, shard))
        if report.failures and any(step.shard == ALL for step in steps):
            return  # the other shards need the table of this run


def _by_shard(steps: list[Step], phase: list[Stage]) -> list[tuple[str, list[Step]]]:
    """Group the steps by run, one per shard; tables without shards belong to the first run."""
    tables = {stage.table for stage in phase}
    selected = [step for step in steps if step.stage.table in tables]
    shards = list(dict.fromkeys(step.shard for step in selected if step.shard != ALL)) or [ALL]
    return [
        (shard, [s for s in selected if s.shard == shard or (s.shard == ALL and not number)])
        for number, shard in enumerate(shards)
        if selected
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
            text = text.removeprefix(f"{dg.Failure.__module__}.{dg.Failure.__qualname__}: ")
            if error and is_debugging():
                print(redacted(error.to_string()), file=sys.stderr)
            yield redacted(f"{event.step_key} ({shard}): {text}")
