"""One shard of one stage: reuse it or compute it, publish it, and say what came of it."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from ops.schemas import REJECTS
from pipelines.chain import ALL, Chain, Keys, Stage
from pipelines.quality import check_results, contact_sheet_of

if TYPE_CHECKING:
    from pipelines.making import Making
    from resources.footers import Published
    from resources.tables import Store

PERMANENT = (ValueError, TypeError, LookupError, AttributeError, ImportError, FileNotFoundError)


def produce(
    context: dg.AssetExecutionContext,
    chain: Chain,
    stage: Stage,
    store: Store,
    make: Callable[[Store, str], Making],
    *,
    peak_memory_bytes: Callable[[], int] = lambda: peak_rss_bytes(),
) -> Any:
    """The stage's shard that this run was asked for, as a materialisation with its data version."""
    shard = context.partition_key if stage.is_sharded else ALL
    keys = Keys(store)
    key = chain.key(stage, shard, keys)
    if keys(stage.table, shard) == key:
        published = store.summary(stage.table, shard)
    else:
        with _once():
            published = _publish(context, chain, stage, store, shard, key, make)
    metadata = describe(stage, store, published, is_sharded=stage.is_sharded)
    if not published.reused:
        metadata["peak_memory_mb"] = round(peak_memory_bytes() / 2**20, 1)
    return dg.MaterializeResult(
        metadata=metadata,
        data_version=dg.DataVersion(key),
        check_results=check_results(stage, store, shard),
    )


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """What a second try would meet again is not tried again; the rest has the retry policy."""
    try:
        yield
    except PERMANENT as error:
        raise dg.Failure(f"{type(error).__name__}: {error}", allow_retries=False) from error


def _publish(
    context: dg.AssetExecutionContext,
    chain: Chain,
    stage: Stage,
    store: Store,
    shard: str,
    key: str,
    make: Callable[[Store, str], Making],
) -> Published:
    making = make(store, shard)
    footer = {
        "recipe": chain.recipe,
        "inputs": json.dumps(chain.inputs(stage, shard, Keys(store))),
        "code_version": stage.code_version,
        "config": json.dumps(stage.config, sort_keys=True, default=str),
        "models": json.dumps(stage.models, sort_keys=True),
        "run_id": context.run_id,
        **making.footer,
    }
    return store.publish(
        stage.table,
        shard,
        schema=making.schema,
        key=key,
        footer=footer,
        chunks=making.chunks,
        rejects_schema=REJECTS,
    )


def describe(
    stage: Stage, store: Store, published: Published, *, is_sharded: bool
) -> dict[str, Any]:
    """Metadata of a materialisation: counts, rejects by reason, speed, schema, lineage, sheet."""
    rows = "dagster/partition_row_count" if is_sharded else "dagster/row_count"
    total = published.num_rows + sum(published.rejects.values())
    metadata: dict[str, Any] = {
        rows: published.num_rows,
        "rejects": sum(published.rejects.values()),
        "rejects_by_reason": dg.MetadataValue.json(published.rejects),
        "elapsed_s": round(published.elapsed_s, 3),
        "rows_per_s": round(total / max(published.elapsed_s, 1e-9), 3),
        "reused": published.reused,
        "size_bytes": published.size_bytes,
        "dagster/uri": published.uri,
        "dagster/column_schema": _column_schema(store, published),
    }
    if stage.columns:
        metadata["dagster/column_lineage"] = _column_lineage(stage)
    if sheet := contact_sheet_of(stage, store, published.shard):
        metadata["contact_sheet"] = dg.MetadataValue.md(f"![{stage.table}]({sheet})")
    return metadata


def peak_rss_bytes() -> int:
    """Largest resident size this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _column_schema(store: Store, published: Published) -> dg.TableSchema:
    schema = store.schema(published.table, published.shard)
    return dg.TableSchema(
        columns=[dg.TableColumn(name=f.name, type=str(f.type)) for f in schema],
    )


def _column_lineage(stage: Stage) -> dg.TableColumnLineage:
    """`columns` names upstream columns as "<table>.<column>"."""
    return dg.TableColumnLineage(
        deps_by_column={
            column: [
                dg.TableColumnDep(
                    asset_key=dg.AssetKey([stage.recipe, *source.rsplit(".", 1)[0].split("/")]),
                    column_name=source.rsplit(".", 1)[1],
                )
                for source in sources
            ]
            for column, sources in stage.columns.items()
        }
    )
