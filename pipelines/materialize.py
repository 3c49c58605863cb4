"""One shard of one stage: reuse it or compute it, publish it, and say what came of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from invertory.ops.schemas import PICTURE, REJECTS
from invertory.pipelines.checks import check_results, contact_sheet_of, require_trusted, verdict
from invertory.pipelines.progress.memory import give_back, peak_rss_bytes, reset_peak
from invertory.pipelines.tables.chain import ALL, REST, Chain, Keys, Stage, asset_path
from invertory.pipelines.tables.verbs import making_of
from invertory.resources.redaction import hiding_secrets, redacted

if TYPE_CHECKING:
    from invertory.pipelines.tables.line import Line
    from invertory.resources.footers import Published
    from invertory.resources.tables import Store

PERMANENT = (ValueError, TypeError, LookupError, AttributeError, ImportError, FileNotFoundError)
WITHOUT_PICTURES = {"models", "boundaries"}


def produce(
    context: dg.AssetExecutionContext, chain: Chain, stage: Stage, store: Store, line: Line
) -> Iterator[dg.MaterializeResult]:
    """The stage's shard that this run was asked for, as a materialisation with its data version.

    It is recorded even where a check fails; then the step fails, and is not tried again.
    """
    with hiding_secrets():
        yield from _produced(context, chain, stage, store, line)


def _produced(
    context: dg.AssetExecutionContext, chain: Chain, stage: Stage, store: Store, line: Line
) -> Iterator[dg.MaterializeResult]:
    shard = context.partition_key if stage.is_sharded else ALL
    give_back()
    reset_peak()
    keys = Keys(store)
    key = chain.key(stage, shard, keys)
    if keys(stage.table, shard) == key:
        store.tidy(stage.table)
        published = store.summary(stage.table, shard)
    else:
        with _once():
            require_trusted(chain, stage, store, shard, keys)
            published = _publish(context, chain, stage, store, shard, key, line)
    results = check_results(stage, store, shard)
    metadata = describe(stage, store, published, _peaks(line))
    for reader in chain.gathering(stage.table):
        context.log_event(_gathered(chain, reader, store))
    yield dg.MaterializeResult(
        metadata=metadata, data_version=dg.DataVersion(key), check_results=results
    )
    if failed := [verdict(stage, shard, result) for result in results if not result.passed]:
        raise dg.Failure("; ".join(failed), allow_retries=False)


@contextlib.contextmanager
def _once() -> Iterator[None]:
    """What a second try would meet again is not tried again; the rest has the retry policy."""
    try:
        yield
    except PERMANENT as error:
        text = redacted(f"{type(error).__name__}: {error}")
        raise dg.Failure(text, allow_retries=False) from error


def _publish(
    context: dg.AssetExecutionContext,
    chain: Chain,
    stage: Stage,
    store: Store,
    shard: str,
    key: str,
    line: Line,
) -> Published:
    making = making_of(line, store, shard)
    footer = {
        "recipe": chain.recipe,
        "inputs": json.dumps(chain.inputs(stage, shard, Keys(store))),
        "code_version": stage.code_version,
        "config": json.dumps(stage.config, sort_keys=True, default=str),
        "models": json.dumps(stage.models, sort_keys=True),
        "run_id": context.run.run_id,
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
    stage: Stage, store: Store, published: Published, peaks: dict[str, float]
) -> dict[str, Any]:
    """Metadata of a materialisation: counts, rejects by reason, speed, schema, lineage, sheet."""
    rows = "dagster/partition_row_count" if stage.is_sharded else "dagster/row_count"
    inputs = int((store.footer(stage.table, published.shard) or {})["num_inputs"])
    per_s = "rows_per_s" if stage.name in WITHOUT_PICTURES else "images_per_s"
    metadata: dict[str, Any] = {
        rows: published.num_rows,
        "inputs": inputs,
        "rejects": sum(published.rejects.values()),
        "rejects_by_reason": dg.MetadataValue.json(published.rejects),
        "elapsed_s": round(published.elapsed_s, 3),
        per_s: round(inputs / max(published.elapsed_s, 1e-3), 3),
        **peaks,
        "reused": published.reused,
        "size_bytes": published.size_bytes,
        "dagster/uri": published.uri,
        "dagster/column_schema": _column_schema(stage, store, published),
    }
    if stage.columns:
        metadata["dagster/column_lineage"] = _column_lineage(stage, store, published)
    if sheet := contact_sheet_of(stage, store, published.shard):
        metadata["contact_sheet"] = dg.MetadataValue.md(f"![{stage.table}]({sheet})")
    return metadata


def _peaks(line: Line) -> dict[str, float]:
    """Largest resident size during the step and, where it leased a GPU, of what lay on that."""
    peaks = {"peak_memory_mb": round(peak_rss_bytes() / 2**20, 1)}
    held = [lease.peak_memory_bytes for lease in line.leases if lease.device.type != "cpu"]
    return peaks | ({"peak_gpu_memory_mb": round(max(held) / 2**20, 1)} if held else {})


def _gathered(chain: Chain, reader: Stage, store: Store) -> dg.AssetMaterialization:
    """What `reader` reads of all shards, as it now is.

    Dagster compares the data versions of at most 99 upstream partitions; with this one word in
    their place a stage shows as stale whatever their number.
    """
    keys = Keys(store)
    missing = {i.table: sum(not keys(i.table, shard) for shard in keys.shards)
               for i in chain.gathers(reader)}  # fmt: skip
    return dg.AssetMaterialization(
        asset_key=dg.AssetKey(reader.gathered_path),
        metadata={"shards": len(keys.shards), "missing": dg.MetadataValue.json(missing)},
        tags={"dagster/data_version": chain.gathered(reader, keys)},
    )


def _column_schema(stage: Stage, store: Store, published: Published) -> dg.TableSchema:
    """Names, types, and in words where each column comes from, as the UI draws no lineage."""
    return dg.TableSchema(
        [
            dg.TableColumn(
                field.name,
                _type_name(field.type),
                f"from {', '.join(sources)}" if (sources := _sources(stage, field.name)) else None,
                dg.TableColumnConstraints(nullable=field.nullable),
            )
            for field in store.schema(published.table, published.shard)
        ]
    )


def _type_name(data_type: pa.DataType) -> str:
    """A latent as float[14][512], a picture as picture; Arrow's words for the rest."""
    if data_type == PICTURE:
        return "picture"
    sizes = ""
    while pa.types.is_fixed_size_list(data_type):
        sizes, data_type = f"{sizes}[{data_type.list_size}]", data_type.value_type
    return f"{data_type}{sizes}"


def _column_lineage(stage: Stage, store: Store, published: Published) -> dg.TableColumnLineage:
    names = store.schema(published.table, published.shard).names
    return dg.TableColumnLineage(
        {name: [_column(stage, source) for source in _sources(stage, name)] for name in names}
    )


def _sources(stage: Stage, column: str) -> tuple[str, ...]:
    """Upstream columns as "<table>.<column>"."""
    return stage.columns.get(column, stage.columns.get(REST, ()))


def _column(stage: Stage, source: str) -> dg.TableColumnDep:
    table, _, name = source.rpartition(".")
    return dg.TableColumnDep(dg.AssetKey(asset_path(stage.recipe, table)), name)
