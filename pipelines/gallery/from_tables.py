"""Build a recipe's gallery from its tables: original, crop, inversions, edits, partner, rejects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.compute as pc

from invertory.pipelines.collections.collection import Collection
from invertory.pipelines.gallery.page import MAX_REJECTS, write_gallery
from invertory.pipelines.gallery.shots import (
    EditShot,
    GalleryRow,
    InversionShot,
    ModelLine,
    PartnerShot,
    RejectShot,
    Summary,
)
from invertory.pipelines.networks.resolve import networks_of
from invertory.pipelines.tables.chain import Keys
from invertory.pipelines.tables.registry import chain_of
from invertory.resources.atomic import replacing, replacing_file

if TYPE_CHECKING:
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.chain import Chain
    from invertory.resources.models import ModelStore
    from invertory.resources.tables import Store

METRICS = ("mse", "psnr_db", "ssim")  # the perceptual distance has its own column name


def write_recipe_gallery(
    recipe: Recipe,
    store: Store,
    models: ModelStore,
    out: Path | None = None,
    *,
    max_rows: int = 48,
) -> str:
    """Write the gallery and return its address (default `<store>/<recipe>/gallery.html`)."""
    chain = chain_of(recipe, models)
    source = Collection(recipe, models)
    path = str(out) if out else f"{store.base}/gallery.html"
    summary = _summary(recipe, chain, store, models)
    with replacing_file(out) if out else replacing(store.fs, path) as file:
        write_gallery(
            _rows(recipe, chain, store, source, max_rows),
            cast(BinaryIO, file),
            title=f"Invertory: {recipe.name}",
            summary=summary,
            rejects=_with_images(_rejects(chain, store), source),
            max_rows=max_rows,
            num_more=max(summary.counts.get("aligned", 0) - max_rows, 0),
        )
    return path


def _rows(
    recipe: Recipe, chain: Chain, store: Store, source: Collection, max_rows: int
) -> Iterator[GalleryRow]:
    for shard in store.shards("aligned"):
        for batch in store.read("aligned", shard, batch_rows=16):
            if max_rows <= 0:
                return
            crops = batch.slice(0, max_rows).to_pylist()
            max_rows -= len(crops)
            crop_rows = _CropRows(chain, store, shard, {crop["crop_id"] for crop in crops})
            yield from (_row(recipe, crop, crop_rows, source) for crop in crops)


class _CropRows:
    """Rows of the tables after `aligned` that belong to the given crops of a shard."""

    def __init__(self, chain: Chain, store: Store, shard: str, ids: set[str]) -> None:
        self._by_crop: dict[str, dict[str, list[dict[str, Any]]]] = {}
        ids = pa.array(sorted(ids), pa.string())
        for stage in chain.stages:
            if stage.name in {"attributes", "latents", "edits", "augmentation"}:
                rows = _rows_by_crop(store, stage.table, shard, ids)
                self._by_crop[stage.table] = rows

    def rows(self, name: str, crop_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield (method, row) for every table with that name."""
        for table, by_crop in self._by_crop.items():
            if table.split("/")[0] == name:
                method = table.partition("/")[2]
                yield from ((method, row) for row in by_crop.get(crop_id, []))


def _rows_by_crop(
    store: Store, table: str, shard: str, ids: pa.Array
) -> dict[str, list[dict[str, Any]]]:
    by_crop: dict[str, list[dict[str, Any]]] = defaultdict(list)
    if store.footer(table, shard) is None:
        return by_crop
    columns = [n for n in store.schema(table, shard).names if n not in {"latent", "state"}]
    for batch in store.read(table, shard, columns, batch_rows=64):
        for row in batch.filter(pc.is_in(batch.column("crop_id"), value_set=ids)).to_pylist():
            by_crop[row["crop_id"]].append(row)
    return by_crop


def _row(
    recipe: Recipe, crop: dict[str, Any], crop_rows: _CropRows, source: Collection
) -> GalleryRow:
    crop_id = crop["crop_id"]
    scores = next((_scores(row) for _, row in crop_rows.rows("attributes", crop_id)), {})
    return GalleryRow(
        crop_id=crop_id,
        uri=crop["uri"],
        aligned=crop["crop"]["bytes"],
        original=_read_original(source, crop["uri"]),
        quad=crop["quad"],
        scores=scores,
        inversions=[
            InversionShot(
                method=method,
                image=row["synth"]["bytes"],
                scores=_quality(row),
                maps=_maps(row),
            )
            for method, row in crop_rows.rows("latents", crop_id)
        ],
        edits=[
            EditShot(
                method=method,
                attribute=row["attribute"],
                step=row["step"],
                image=row["picture"]["bytes"],
                scores=_scores(row),
            )
            for method, row in crop_rows.rows("edits", crop_id)
        ],
        partners=[
            PartnerShot(
                method=method,
                image=row["picture"]["bytes"],
                caption=_caption(recipe, row),
                scores=_scores(row),
            )
            for method, row in crop_rows.rows("augmentation", crop_id)
        ],
    )


def _maps(row: dict[str, Any]) -> dict[str, bytes]:
    """Return the maps of an inversion, such as masks, by name."""
    return {
        name.removeprefix("map_"): cell["bytes"]
        for name, cell in row.items()
        if name.startswith("map_")
    }


def _caption(recipe: Recipe, row: dict[str, Any]) -> str:
    """Describe which attribute was flipped and which was kept."""
    how = recipe.augmentation
    names = (how.protected, how.target) if how else ("protected", "target")
    flipped, kept = ("yes" if row[f"{n}_label"] else "no" for n in ("protected", "target"))
    return f"{names[0]} flipped to {flipped}, {names[1]} kept at {kept}"


def _scores(row: dict[str, Any]) -> dict[str, float]:
    return {k.removeprefix("score_"): v for k, v in row.items() if k.startswith("score_")}


def _read_original(source: Collection, uri: str) -> bytes | None:
    try:
        return source.read(uri)
    except OSError:
        return None  # the photograph is gone; its crop is still shown


def _with_images(rejects: Iterable[RejectShot], source: Collection) -> Iterator[RejectShot]:
    """Yield the rejects; those of alignment get their image while the page has room."""
    for i, shot in enumerate(rejects):
        readable = shot.stage == "aligned" and i < MAX_REJECTS
        yield replace(shot, image=_read_original(source, shot.uri)) if readable else shot


def _rejects(chain: Chain, store: Store) -> Iterator[RejectShot]:
    uris: dict[str, str] = {}
    for batch in store.read_all("images", ["image_id", "uri", "status", "error"]):
        for row in batch.to_pylist():
            uris[row["image_id"]] = row["uri"]
            if row["status"] != "ok":
                yield RejectShot(
                    stage="images", uri=row["uri"], status=row["status"], error=row["error"] or ""
                )
    for stage in chain.stages:
        if stage.name == "images":
            continue
        for shard in store.shards(stage.table):
            for row in store.rejects(stage.table, shard).to_pylist():
                uri = row["uri"] or uris.get(row["row_id"].split(":")[0], row["row_id"])
                yield RejectShot(
                    stage=stage.table,
                    uri=uri,
                    status=row["status"],
                    error=row["error"],
                )


def _summary(recipe: Recipe, chain: Chain, store: Store, models: ModelStore) -> Summary:
    keys = Keys(store)
    counts = {"files": sum(store.num_rows("entries", shard) for shard in keys.shards)}
    methods: dict[str, dict[str, list[float]]] = {}
    perceptual = "perceptual"
    for stage in chain.stages:
        shards = [s for s in chain.shards(stage, keys) if keys(stage.table, s)]
        if stage.name in {"aligned", "edits", "augmentation", "exports"} and shards:
            counts[stage.table] = sum(store.num_rows(stage.table, shard) for shard in shards)
        if stage.name == "latents":
            if shards:
                perceptual = _perceptual(store.schema(stage.table, shards[-1]).names)
            methods[stage.method or ""] = _metrics(store, stage.table, shards, perceptual)
    lines = [
        ModelLine(name=n.card.name, kind=n.card.kind, source=n.card.source, licence=n.card.licence)
        for n in networks_of(recipe, models).values()
    ]
    return Summary(
        recipe=recipe.name,
        description=recipe.description,
        counts=counts,
        models=lines,
        methods=methods,
        perceptual=perceptual.removeprefix("perceptual_"),
    )


def _metrics(
    store: Store, table: str, shards: Iterable[str], perceptual: str
) -> dict[str, list[float]]:
    """Collect the metrics of every crop, excluding distances of another perceptual network."""
    metrics: dict[str, list[float]] = {name: [] for name in (*METRICS, "perceptual")}
    for shard in shards:
        own = _perceptual(store.schema(table, shard).names)
        for batch in store.read(table, shard, [*METRICS, own]):
            for name, values in _quality(batch.to_pydict()).items():
                if name != "perceptual" or own == perceptual:
                    metrics[name] += values
    return metrics


def _quality(row: dict[str, Any]) -> dict[str, Any]:
    """Return the metrics of a row or a batch; the distance is named `perceptual`."""
    return {name: row[name] for name in METRICS} | {"perceptual": row[_perceptual(row)]}


def _perceptual(columns: Iterable[str]) -> str:
    """Return the name of the column perceptual_<name of the distance>."""
    return next(name for name in columns if name.startswith("perceptual"))
