"""Run a recipe from the command line: what is missing or stale, wave by wave, through Dagster."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import yaml

from invertory.pipelines.assets import assets_of
from invertory.pipelines.cli.abandoned import free_abandoned, process_tags
from invertory.pipelines.cli.answers import is_debugging
from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.collections.intake import deal_new
from invertory.pipelines.definitions import resources
from invertory.pipelines.errors.explain import first_words, one_line
from invertory.pipelines.networks.resolve import prefetch
from invertory.pipelines.partitions import partitions_name
from invertory.pipelines.tables.chain import ALL, Chain, Stage, Step
from invertory.pipelines.tables.stages import chain_of
from invertory.resources.addresses import Address
from invertory.resources.atomic import write_private
from invertory.resources.redaction import redacted

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress
    from invertory.pipelines.progress.reporting import Reporting
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store

HOUSE = Path(__file__).resolve().parents[2]


class InstanceError(RuntimeError):
    """Dagster's instance cannot be opened."""


@dataclass(kw_only=True)
class Report:
    """What a run did."""

    recipe: str
    new_shards: list[str]
    num_computed: int = 0
    elapsed_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    run_ids: list[str] = field(default_factory=list)

    @property
    def is_up_to_date(self) -> bool:
        return not self.num_computed and not self.failures


def dagster_home() -> Path:
    """`DAGSTER_HOME`, or `.dagster` here with the repository's dagster.yaml in it."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path(".dagster").resolve())))
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        shutil.copy(HOUSE / "dagster.yaml", home / "dagster.yaml")
    return home


@contextlib.contextmanager
def opened_instance() -> Iterator[dg.DagsterInstance]:
    """The instance of `DAGSTER_HOME`; InstanceError says what keeps it from opening."""
    home = dagster_home()
    try:
        instance = dg.DagsterInstance.get()
    except Exception as error:  # of yaml, Dagster, SQLAlchemy and the drivers of databases
        raise InstanceError(
            f"expected Dagster's instance of {home} to open, got: {one_line(first_words(error))}; "
            f"correct {home / 'dagster.yaml'}, or start the database that it names"
        ) from error
    with instance:
        yield instance


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
    if any(chain.pending(store)):
        with opened_instance() as instance:
            free_abandoned(instance)
            instance.add_dynamic_partitions(partitions_name(recipe.name), store.shards("entries"))
            for wave in chain.waves():
                _run_wave(recipe, chain, wave, store, instance, world, report)
                if report.failures:
                    break
    report.elapsed_s = time.monotonic() - began
    return report


def _deal(recipe: Recipe, models: ModelStore, store: Store, progress: Progress) -> list[str]:
    """Networks and collections fetched, new pictures in shards; the listing is let go of here."""
    with progress.download("weights") as received:
        prefetch(recipe, models, received)
        source = Collection(recipe, models, received)
    return deal_new(store, source, recipe.collection.shard_size)


def _run_wave(
    recipe: Recipe,
    chain: Chain,
    wave: list[Stage],
    store: Store,
    instance: dg.DagsterInstance,
    world: dict[str, Any],
    report: Report,
) -> None:
    assets = assets_of(recipe, chain)
    for shard, steps in _by_shard(chain.pending(store), wave):
        result = dg.materialize(
            assets,
            selection=[dg.AssetKey(step.stage.asset_path) for step in steps],
            partition_key=None if shard == ALL else shard,
            instance=instance,
            resources=world,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={"invertory/recipe": recipe.name, **process_tags()},
        )
        if _was_interrupted(result):
            raise KeyboardInterrupt  # which Dagster has recorded as a failure of the run
        report.run_ids.append(result.run_id)
        report.num_computed += len(steps)
        report.failures.extend(_failures(result, shard))


def _by_shard(steps: Iterator[Step], wave: list[Stage]) -> list[tuple[str, list[Step]]]:
    tables = {stage.table for stage in wave}
    found: dict[str, list[Step]] = {}
    for step in steps:
        if step.stage.table in tables:
            found.setdefault(step.shard, []).append(step)
    return list(found.items())


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
