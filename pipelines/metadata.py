"""The metadata of a materialisation: counts, speed, schema, lineage, contact sheet."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow as pa

from invertory.ops.schemas import IMAGE_TYPE
from invertory.pipelines.gallery.thumbnails import contact_sheet, data_uri
from invertory.pipelines.progress.memory import peak_rss_bytes
from invertory.pipelines.tables.chain import Chain, Keys
from invertory.pipelines.tables.stage import REST, Stage, asset_path

if TYPE_CHECKING:
    from invertory.pipelines.tables.stage_run import StageRun
    from invertory.resources.footers import Published
    from invertory.resources.tables import Store

SHEET_IMAGES = 16


def describe(
    stage: Stage, store: Store, published: Published, peaks: dict[str, float]
) -> dict[str, Any]:
    """The metadata that the Dagster UI shows with a materialisation."""
    rows = "dagster/partition_row_count" if stage.is_sharded else "dagster/row_count"
    per_s = "images_per_s" if stage.page.counts_images else "rows_per_s"
    metadata: dict[str, Any] = {
        rows: published.num_rows,
        "inputs": published.num_inputs,
        "rejects": sum(published.rejects.values()),
        "rejects_by_reason": dg.MetadataValue.json(published.rejects),
        "elapsed_s": round(published.elapsed_s, 3),
        per_s: round(published.num_inputs / max(published.elapsed_s, 1e-3), 3),
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


def memory_peaks(run: StageRun) -> dict[str, float]:
    """Peak resident memory of the step and, where it leased a GPU, of that GPU."""
    peaks = {"peak_memory_mb": round(peak_rss_bytes() / 2**20, 1)}
    held = [lease.peak_memory_bytes for lease in run.leases if lease.device.type != "cpu"]
    return peaks | ({"peak_gpu_memory_mb": round(max(held) / 2**20, 1)} if held else {})


def gathered(chain: Chain, reader: Stage, store: Store) -> dg.AssetMaterialization:
    """All shards that `reader` reads, in one data version.

    Dagster compares the data versions of at most 99 upstream partitions; this one version takes
    their place, so that a stage shows as stale whatever their number.
    """
    keys = Keys(store)
    missing = {i.table: sum(not keys(i.table, shard) for shard in keys.shards)
               for i in chain.gathers(reader)}  # fmt: skip
    return dg.AssetMaterialization(
        asset_key=dg.AssetKey(reader.gathered_path),
        metadata={"shards": len(keys.shards), "missing": dg.MetadataValue.json(missing)},
        tags={"dagster/data_version": chain.gathered(reader, keys)},
    )


def contact_sheet_of(stage: Stage, store: Store, shard: str) -> str | None:
    """A data URI of the shard's first images; None where it has none."""
    column = stage.page.image_column
    if column is None or not store.num_rows(stage.table, shard):
        return None
    images = list(islice(_images(stage, store, shard, column), SHEET_IMAGES))
    sheet = contact_sheet([data for data, _ in images], [caption for _, caption in images])
    return data_uri(sheet)


def _images(stage: Stage, store: Store, shard: str, column: str) -> Iterator[tuple[bytes, str]]:
    """(image, caption) of every row and of the maps of its inversion."""
    page = stage.page
    maps = [name for name in store.schema(stage.table, shard).names if name.startswith("map_")]
    columns = [page.id_column, column, *maps, *page.caption_columns]
    for batch in store.read(stage.table, shard, columns=columns):
        for row in batch.to_pylist():
            yield row[column]["bytes"], page.caption(row)
            yield from ((row[name]["bytes"], name.removeprefix("map_")) for name in maps)


def _column_schema(stage: Stage, store: Store, published: Published) -> dg.TableSchema:
    """Names, types and sources of the columns; the UI does not draw their lineage itself."""
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
    if data_type == IMAGE_TYPE:
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
