"""One shard of one stage: reuse it or compute it, publish it, and report it to Dagster."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

from invertory.ops.schemas import REJECTS, RETRIED
from invertory.pipelines.checks import check_results, require_trusted, verdict
from invertory.pipelines.metadata import describe, gathered, memory_peaks
from invertory.pipelines.processes.abandoned import tag_served
from invertory.pipelines.progress.memory import give_back, reset_peak
from invertory.pipelines.tables.chain import Chain, Keys
from invertory.pipelines.tables.stage import ALL, Stage
from invertory.resources.outages import is_outage
from invertory.resources.redaction import hiding_secrets, redacted
from invertory.resources.seals import CorruptFileError
from invertory.resources.verification import set_aside

if TYPE_CHECKING:
    from invertory.pipelines.tables.stage_run import StageRun
    from invertory.resources.footers import Published
    from invertory.resources.tables import Store

PERMANENT = (ValueError, TypeError, LookupError, AttributeError, ImportError, FileNotFoundError)


def materialize(
    context: dg.AssetExecutionContext, chain: Chain, stage: Stage, store: Store, run: StageRun
) -> Iterator[dg.MaterializeResult[None]]:
    """Materialise the shard of this run's partition, with its data version.

    The materialisation is recorded even where a check fails; then the step fails without a retry.
    """
    tag_served(context.instance, context.run)
    with hiding_secrets():
        yield from _materialized(context, chain, stage, store, run)


def _materialized(
    context: dg.AssetExecutionContext, chain: Chain, stage: Stage, store: Store, run: StageRun
) -> Iterator[dg.MaterializeResult[None]]:
    shard = context.partition_key if stage.is_sharded else ALL
    give_back()
    reset_peak()
    keys = Keys(store)
    key = chain.key(stage, shard, keys)
    with _setting_aside(store):
        if keys(stage.table, shard) == key:
            store.tidy(stage.table)
            published = store.summary(stage.table, shard)
        else:
            with _once():
                require_trusted(chain, stage, store, shard, keys)
                published = _publish(context, chain, stage, store, shard, keys, run)
        results = check_results(stage, store, shard)
        metadata = describe(stage, store, published, memory_peaks(run))
    for reader in chain.gathering(stage.table):
        context.log_event(gathered(chain, reader, store))
    yield dg.MaterializeResult(
        metadata=metadata, data_version=dg.DataVersion(published.key), check_results=results
    )
    # Dagster fails the step of a blocking check by itself, in either executor, but only names the
    # check; this failure has its figures, which the command line prints.
    if failed := [verdict(stage, shard, result) for result in results if not result.passed]:
        raise dg.Failure("; ".join(failed), allow_retries=False)


@contextlib.contextmanager
def _setting_aside(store: Store) -> Iterator[None]:
    """Move a table file that turns out corrupt away, so that the next run computes it again."""
    try:
        yield
    except CorruptFileError as error:
        moved = set_aside(store, error.path)
        if moved is None:  # sound: another process has just replaced it
            raise
        raise dg.Failure(
            f"{error.path} is corrupt: {error.reason}; it was moved to {moved} and is computed "
            "again by the next run",
            allow_retries=False,
        ) from error


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """Fail without a retry on errors that would come again; others follow the retry policy."""
    try:
        yield
    except PERMANENT as error:
        if is_outage(error):  # even if it is wrapped in another error
            raise
        text = redacted(f"{type(error).__name__}: {error}")
        raise dg.Failure(text, allow_retries=False) from error


def _publish(
    context: dg.AssetExecutionContext,
    chain: Chain,
    stage: Stage,
    store: Store,
    shard: str,
    keys: Keys,
    run: StageRun,
) -> Published:
    key = chain.key(stage, shard, keys)
    plan = stage.page.plan(replace(run, key=key), store, shard)
    footer = {
        "recipe": chain.recipe,
        "inputs": json.dumps(chain.inputs(stage, shard, keys)),
        "code_version": stage.code_version,
        "config": json.dumps(stage.config, sort_keys=True, default=str),
        "models": json.dumps(stage.models, sort_keys=True),
        "run_id": context.run.run_id,
        **plan.footer,
    }
    return store.publish(
        stage.table,
        shard,
        schema=plan.schema,
        key=key,
        footer=footer,
        chunks=plan.chunks,
        rejects_schema=REJECTS,
        retry=RETRIED,
        totals=stage.page.totals,
        waiting=run.progress.note,
    )
