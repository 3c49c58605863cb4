"""Scored latents: the rows that boundaries are fitted on and partners are computed from."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from invertory.ops import schemas
from invertory.ops.render import read_latents


@dataclass(frozen=True, slots=True)
class Scored:
    """Latents [N, rows, w_dim] float32 and scores by name, [N] each, NaN where missing."""

    latents: Tensor
    scores: dict[str, Tensor]


def gather(batches: Iterable[pa.RecordBatch], *, is_mean: bool, max_rows: int) -> Scored:
    """Collect the scored latents of a stream, holding at most 2 `max_rows` rows in memory.

    A batch has `w` or `latent`, `sample_id` or `crop_id`, and score_<name> columns. `is_mean`
    reduces each latent to the mean of its rows. Of more than `max_rows` rows, those with the
    smallest hashes of their ids are kept.
    """
    kept: list[tuple[Any, Tensor, dict[str, Any]]] = []
    num_held = 0
    for batch in batches:
        kept.append(_read(batch, is_mean))
        num_held += batch.num_rows
        if num_held > 2 * max_rows:
            kept, num_held = [_keep_least(kept, max_rows)], max_rows
    if not num_held:
        raise ValueError("expected scored latents, got no rows; run the stages before this one")
    _, latents, scores = _keep_least(kept, max_rows)
    return Scored(latents, {name: torch.from_numpy(values) for name, values in scores.items()})


def join_scores(
    latents: Iterable[pa.RecordBatch],
    attributes: Iterable[pa.RecordBatch],
    schema: pa.Schema | None = None,
) -> Iterator[pa.RecordBatch]:
    """LATENTS rows of a shard with the scores of its ATTRIBUTES rows, null where there is none.

    The scores of the shard are held in memory and its latents are streamed; no row is dropped.
    `schema` is the schema of ATTRIBUTES, for a shard without any scored crop.
    """
    held = list(attributes)
    table = pa.Table.from_batches(
        held, schema or (held[0].schema if held else schemas.attributes([]))
    )
    names = [name for name in table.column_names if name.startswith("score_")]
    position = {crop_id: i for i, crop_id in enumerate(table.column("crop_id").to_pylist())}
    for batch in latents:
        positions = [position.get(crop_id) for crop_id in batch.column("crop_id").to_pylist()]
        rows = pa.array(positions, pa.int64())
        scores = [table.column(name).combine_chunks().take(rows) for name in names]
        schema = pa.schema([*batch.schema, *(pa.field(name, pa.float32()) for name in names)])
        yield pa.RecordBatch.from_arrays([*batch.columns, *scores], schema=schema)


def _read(batch: pa.RecordBatch, is_mean: bool) -> tuple[Any, Tensor, dict[str, Any]]:
    """Return the hashes of the ids [N] uint64, the latents and the scores."""
    columns = set(batch.schema.names)
    ids = batch.column("sample_id" if "sample_id" in columns else "crop_id").to_pylist()
    digests = [hashlib.sha256(row_id.encode()).digest()[:8] for row_id in ids]
    latents = read_latents(batch.column("w" if "w" in columns else "latent"))
    scores = {
        name.removeprefix("score_"): batch.column(name).to_numpy(zero_copy_only=False)
        for name in batch.schema.names
        if name.startswith("score_")
    }
    hashes = np.array([int.from_bytes(digest, "big") for digest in digests], np.uint64)
    return hashes, latents.mean(1, keepdim=True) if is_mean else latents, scores


def _keep_least(
    blocks: Sequence[tuple[Any, Tensor, dict[str, Any]]], max_rows: int
) -> tuple[Any, Tensor, dict[str, Any]]:
    """Keep the rows with the smallest hashes, sorted by hash."""
    hashes = np.concatenate([block[0] for block in blocks])
    order = np.argsort(hashes, kind="stable")[:max_rows]
    latents = torch.cat([block[1] for block in blocks])[torch.from_numpy(order)]
    names = blocks[0][2]
    scores = {name: np.concatenate([block[2][name] for block in blocks])[order] for name in names}
    return hashes[order], latents, {n: v.astype(np.float64) for n, v in scores.items()}
