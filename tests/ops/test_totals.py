"""Figures of a shard do not depend on how its rows are cut into batches."""

from __future__ import annotations

import json
import math

import pyarrow as pa
import pytest

from invertory.ops import schemas
from invertory.ops.streams import reject
from invertory.ops.totals import (
    InputTotal,
    MedianTotal,
    MissingTotal,
    NonFiniteTotal,
    StatusTotal,
    Totals,
)

SCHEMA = pa.schema([
    ("crop_id", pa.string()),
    ("status", pa.string()),
    ("latent", schemas.latent_type(2, 2)),
    ("psnr_db", pa.float32()),
])  # fmt: skip


def row(crop_id: str, status: str = "ok", psnr_db: float = 20.0, value: float = 0.0) -> dict:
    return {"crop_id": crop_id, "status": status, "latent": [[0.0, value], [1.0, 2.0]],
            "psnr_db": psnr_db}  # fmt: skip


def figures(rows: list[dict], rejects: list[dict], size: int = 100) -> dict:
    totals = Totals(
        InputTotal("crop_id", lambda i: i.partition(":")[0], {"ok", "duplicate"}),
        StatusTotal(),
        NonFiniteTotal("latent"),
        MedianTotal("psnr_db"),
        MissingTotal(),
    )
    assert set(totals.columns) == set(SCHEMA.names)
    for first in range(0, len(rows), size):
        totals.add_rows(pa.RecordBatch.from_pylist(rows[first : first + size], schema=SCHEMA))
    for first in range(0, len(rejects), size):
        part = rejects[first : first + size]
        totals.add_rejects(pa.RecordBatch.from_pylist(part, schema=schemas.REJECTS))
    return totals.figures()


ROWS = [
    row("a:0", psnr_db=10),
    row("a:1", "duplicate", psnr_db=30, value=math.nan),
    row("b:0", "denied", psnr_db=14, value=-math.inf),
    row("a:0", psnr_db=18),
]
REJECTS = [reject("c", "no_face", "none"), reject("b:0", "failed", "no")]
EXPECTED = {
    "num_rows": 4,
    "num_accounted": 3,  # a, b, c
    "num_repeated": 2,  # a:0 and b:0
    "num_sound": 1,  # a
    "rows_by_status": {"denied": 1, "duplicate": 1, "ok": 2},
    "num_non_finite": 2,
    "median_psnr_db": 16.0,
    "missing": {"c": "none", "b:0": "no"},
}


@pytest.mark.parametrize("size", [1, 3, 100])
def test_figures_of_rows_and_rejects(size: int) -> None:
    assert figures(ROWS, REJECTS, size) == EXPECTED


def test_an_empty_shard_has_figures_of_the_same_names() -> None:
    found = figures([], [])
    assert found.keys() == EXPECTED.keys()
    assert found["median_psnr_db"] is None
    assert found["num_accounted"] == 0


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_median_that_is_not_finite_is_still_json(value: float) -> None:
    found = figures([row("a:0", psnr_db=value)], [])
    text = json.dumps(found, allow_nan=False)
    assert str(float(json.loads(text)["median_psnr_db"])) == str(value)
