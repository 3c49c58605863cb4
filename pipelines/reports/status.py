"""What a recipe has in its store, from footers alone: rows, rejects, what is stale or corrupt."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from invertory.ops.schemas import RETRIED
from invertory.pipelines.tables.chain import Keys
from invertory.pipelines.tables.images import Images
from invertory.pipelines.tables.registry import chain_of
from invertory.resources.redaction import redacted
from invertory.resources.seals import CorruptFileError

if TYPE_CHECKING:
    from invertory.pipelines.cli.running import Report
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage import Stage
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store


def report_json(recipe: Recipe, store: Store, models: ModelStore, report: Report) -> dict[str, Any]:
    """What `run` did, and the store as it is now."""
    return {
        "recipe": report.recipe,
        "is_up_to_date": report.is_up_to_date,
        "new_shards": report.new_shards,
        "num_computed": report.num_computed,
        "elapsed_s": round(report.elapsed_s, 2),
        "failures": report.failures,
        "corrupt": report.corrupt,
        "run_ids": report.run_ids,
        "status": status_json(recipe, store, models),
    }


def status_json(recipe: Recipe, store: Store, models: ModelStore) -> dict[str, Any]:
    """Rows, rejects by reason and stale shards of every table of the recipe."""
    chain = chain_of(recipe, models)
    keys = Keys(store)
    pending = Counter(s.stage.table for s in chain.pending(store) if not s.is_retry)
    corrupt: list[str] = []
    files = _files_by_status(store, corrupt)
    rows: list[dict[str, Any]] = []
    for stage in chain.stages:
        shards = chain.shards(stage, keys)
        corrupt += _corrupt(store, stage.table, shards, keys)
        done = [shard for shard in shards if keys(stage.table, shard)]
        rows.append(_table_row(store, stage, done, pending[stage.table], files))
    return {
        "recipe": recipe.name,
        "store": redacted(store.base),
        "files": sum(store.num_rows("entries", shard) for shard in keys.shards),
        "files_by_status": files,
        "tables": rows,
        "corrupt": list(dict.fromkeys(corrupt)),
    }


def _table_row(
    store: Store, stage: Stage, done: list[str], num_pending: int, files: dict[str, int]
) -> dict[str, Any]:
    """A table in figures; failures of `images` are among its rows, not its rejects."""
    published = [store.summary(stage.table, shard) for shard in done]
    rejects: Counter[str] = Counter()
    for one in published:
        rejects.update(one.rejects)
    failures = files if stage.table == "images" else rejects
    return {
        "table": stage.table,
        "num_rows": sum(one.num_rows for one in published),
        "rejects": dict(rejects),
        "num_shards": len(done),
        "num_pending": num_pending,
        "num_retried": sum(failures.get(status, 0) for status in RETRIED),
    }


def _files_by_status(store: Store, corrupt: list[str]) -> dict[str, int]:
    """The files of all whole shards; paths of broken ones are added to `corrupt`."""
    counts: Counter[str] = Counter()
    for shard in store.shards("images"):
        if store.footer("images", shard) is None:
            corrupt.append(store.path("images", shard))
            continue
        try:
            counts.update(store.summary("images", shard, Images().totals).totals["rows_by_status"])
        except CorruptFileError as error:  # a file of an earlier version, read for its totals
            corrupt.append(error.path)
    return dict(counts)


def _corrupt(store: Store, table: str, shards: list[str], keys: Keys) -> list[str]:
    """Broken and lost files of shards that were published and are not done any more."""
    found: list[str] = []
    published = set(store.shards(table))
    for shard in shards:
        if shard not in published or keys(table, shard) is not None:
            continue
        footer = store.footer(table, shard)
        path = store.path(table, shard)
        found += [path] if footer is None else store.faults(table, shard, footer)
    return found
