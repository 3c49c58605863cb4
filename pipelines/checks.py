"""Blocking checks: what a materialisation must show before anything downstream trusts it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from invertory.ops.schemas import RETRIED
from invertory.pipelines.partitions import shards_of
from invertory.resources.provisional import is_provisional

if TYPE_CHECKING:
    from invertory.pipelines.tables.chain import Chain, Keys
    from invertory.pipelines.tables.stage import Stage
    from invertory.resources.tables import Store

Check = Callable[["Stage", "Store", str], dg.AssetCheckResult]
SOUND = ("ok", "duplicate")  # statuses of images


def check_specs(stage: Stage) -> list[dg.AssetCheckSpec]:
    """A verdict for each shard: a shard that passes must not hide one that has failed."""
    about: dict[str, Any] = {"asset": dg.AssetKey(stage.asset_path), "blocking": True}
    if stage.is_sharded:
        about["partitions_def"] = shards_of(stage.recipe)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # `partitions_def`, in Dagster 1.13
        return [
            dg.AssetCheckSpec(check.__name__, description=check.__doc__, **about)
            for check in stage.page.checks
        ]


def check_results(stage: Stage, store: Store, shard: str) -> list[dg.AssetCheckResult]:
    """Each check's verdict on the published shard."""
    return [check(stage, store, shard) for check in stage.page.checks]


def verdict(stage: Stage, shard: str, result: dg.AssetCheckResult) -> str:
    """A failed check as a sentence."""
    figures = ", ".join(f"{name} {value.value}" for name, value in result.metadata.items())
    return f"{stage.table} of {shard} fails {result.check_name}: {figures}"


def require_trusted(chain: Chain, stage: Stage, store: Store, shard: str, keys: Keys) -> None:
    """dg.Failure where a table that `stage` reads fails a check, whichever run published it.

    A blocking check of Dagster only holds back what the same run would compute downstream.
    """
    for table, name, _ in chain.inputs(stage, shard, keys):
        if table == "entries" or not keys(table, name):
            continue
        upstream = chain.stage(table)
        for result in check_results(upstream, store, name):
            if not result.passed:
                remedy = "mend the images, or the recipe's checks, and run again"
                raise dg.Failure(
                    f"{stage.table} is held back: {verdict(upstream, name, result)}; {remedy}",
                    allow_retries=False,
                )


def rows_add_up(stage: Stage, store: Store, shard: str) -> dg.AssetCheckResult:
    """Every input became rows or a reject: none is lost and none is counted twice."""
    inputs = _num_inputs(stage, store, shard)
    results = list(_result_ids(stage, store, shard))
    twice = len(results) - len(set(results))
    accounted = len({stage.page.input_of(result) for result in results})
    return dg.AssetCheckResult(
        passed=accounted == inputs and not twice,
        check_name="rows_add_up",
        metadata={"inputs": inputs, "accounted": accounted, "counted_twice": twice},
    )


def reject_share(stage: Stage, store: Store, shard: str) -> dg.AssetCheckResult:
    """The share of inputs that gave nothing stays under the recipe's `checks.max_reject_share`."""
    limit = float(stage.limits["max_reject_share"])
    inputs = _num_inputs(stage, store, shard)
    gave = len(
        {stage.page.input_of(row_id) for row_id in _row_ids(stage, store, shard, is_sound=True)}
    )
    share = (inputs - gave) / inputs if inputs else 0.0
    figures: dict[str, float] = {
        "reject_share": round(share, 4),
        "limit": limit,
        "inputs": inputs,
    }
    if is_provisional(store.key(stage.table, shard)):
        figures["read again at the next run"] = _num_retried(stage, store, shard)
    return dg.AssetCheckResult(passed=share <= limit, check_name="reject_share", metadata=figures)


def finite_latents(stage: Stage, store: Store, shard: str) -> dg.AssetCheckResult:
    """No latent holds a NaN or an infinity."""
    bad = 0
    for batch in store.read(stage.table, shard, columns=["latent"]):
        values = np.asarray(batch.column("latent").flatten().flatten())
        bad += int((~np.isfinite(values)).sum())
    return dg.AssetCheckResult(
        passed=bad == 0, check_name="finite_latents", metadata={"non_finite_values": bad}
    )


def reconstruction_floor(stage: Stage, store: Store, shard: str) -> dg.AssetCheckResult:
    """The median reconstruction reaches the recipe's `checks.min_psnr_db`."""
    floor = float(stage.limits["min_psnr_db"])
    psnr = store.table(stage.table, shard, columns=["psnr_db"]).column("psnr_db").to_numpy()
    median = float(np.median(psnr)) if len(psnr) else float("inf")
    return dg.AssetCheckResult(
        passed=median >= floor,
        check_name="reconstruction_floor",
        metadata={"median_psnr_db": round(min(median, 1e3), 3), "floor_db": floor, "n": len(psnr)},
    )


def all_found(stage: Stage, store: Store, shard: str) -> dg.AssetCheckResult:
    """Every boundary that the recipe asks for could be fitted or imported."""
    rejects = store.rejects(stage.table, shard).to_pylist()
    return dg.AssetCheckResult(
        passed=not rejects,
        check_name="all_found",
        metadata={reject["row_id"]: reject["error"] for reject in rejects},
    )


def _num_retried(stage: Stage, store: Store, shard: str) -> int:
    """Rows or rejects of inputs that could not be read this time."""
    if stage.name == "images":
        found = store.table(stage.table, shard, ["status"])
    else:
        found = store.rejects(stage.table, shard)
    statuses = found.column("status").to_pylist() if found.num_columns else []
    return sum(status in RETRIED for status in statuses)


def _num_inputs(stage: Stage, store: Store, shard: str) -> int:
    return int((store.footer(stage.table, shard) or {})["num_inputs"])


def _result_ids(stage: Stage, store: Store, shard: str) -> Iterator[str]:
    """The id of every row and every reject of a sharded stage."""
    yield from _row_ids(stage, store, shard)
    rejects = store.rejects(stage.table, shard)
    yield from rejects.column("row_id").to_pylist() if rejects.num_columns else ()


def _row_ids(stage: Stage, store: Store, shard: str, *, is_sound: bool = False) -> Iterator[str]:
    """The id of every row; `is_sound` leaves out the rows of `images` that say what is wrong."""
    column = stage.page.id_column
    columns = [column, "status"] if is_sound and stage.name == "images" else [column]
    for batch in store.read(stage.table, shard, columns):
        if len(columns) == 2:  # a duplicate is sound: its twin goes on
            batch = batch.filter(pc.is_in(batch.column("status"), value_set=pa.array(SOUND)))
        yield from batch.column(column).to_pylist()
