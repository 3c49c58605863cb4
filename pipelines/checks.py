"""Blocking checks: limits on the figures that the footer of a published shard has.

A check reads no table; the figures are added up while the shard is published (`ops/totals.py`).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import dagster as dg

from invertory.ops.schemas import RETRIED
from invertory.pipelines.partitions import shards_of
from invertory.resources.provisional import is_provisional

if TYPE_CHECKING:
    from invertory.pipelines.tables.chain import Chain, Keys
    from invertory.pipelines.tables.stage import Stage
    from invertory.resources.tables import Published, Store

Check = Callable[["Stage", "Published"], dg.AssetCheckResult]


def check_specs(stage: Stage) -> list[dg.AssetCheckSpec]:
    """The checks of a stage, by shard: a shard that passes must not hide one that has failed."""
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
    """The result of each check for the published shard, from the figures in its footer."""
    if not stage.page.checks:
        return []
    published = store.summary(stage.table, shard, stage.page.totals)
    return [check(stage, published) for check in stage.page.checks]


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
                remedy = "fix the images, or the recipe's checks, and run again"
                raise dg.Failure(
                    f"{stage.table} is held back: {verdict(upstream, name, result)}; {remedy}",
                    allow_retries=False,
                )


def rows_add_up(stage: Stage, published: Published) -> dg.AssetCheckResult:
    """Every input became rows or a reject: none is lost and none is counted twice."""
    accounted = published.totals["num_accounted"]
    repeated = published.totals["num_repeated"]
    return dg.AssetCheckResult(
        passed=accounted == published.num_inputs and not repeated,
        check_name="rows_add_up",
        metadata={
            "inputs": published.num_inputs,
            "accounted": accounted,
            "counted_twice": repeated,
        },
    )


def reject_share(stage: Stage, published: Published) -> dg.AssetCheckResult:
    """The share of inputs that gave nothing stays under the recipe's `checks.max_reject_share`."""
    limit, inputs = float(stage.limits["max_reject_share"]), published.num_inputs
    share = (inputs - published.totals["num_sound"]) / inputs if inputs else 0.0
    figures: dict[str, float] = {
        "reject_share": round(share, 4),
        "limit": limit,
        "inputs": inputs,
    }
    if is_provisional(published.key):
        figures["read again at the next run"] = _num_retried(published)
    return dg.AssetCheckResult(passed=share <= limit, check_name="reject_share", metadata=figures)


def finite_latents(stage: Stage, published: Published) -> dg.AssetCheckResult:
    """No latent holds a NaN or an infinity."""
    number = published.totals["num_non_finite"]
    return dg.AssetCheckResult(
        passed=number == 0, check_name="finite_latents", metadata={"non_finite_values": number}
    )


def reconstruction_floor(stage: Stage, published: Published) -> dg.AssetCheckResult:
    """The median reconstruction reaches the recipe's `checks.min_psnr_db`."""
    floor, median = float(stage.limits["min_psnr_db"]), published.totals["median_psnr_db"]
    median = math.inf if median is None else float(median)
    return dg.AssetCheckResult(
        passed=median >= floor,
        check_name="reconstruction_floor",
        metadata={
            "median_psnr_db": round(min(median, 1e3), 3),
            "floor_db": floor,
            "n": published.num_rows,
        },
    )


def all_found(stage: Stage, published: Published) -> dg.AssetCheckResult:
    """Every boundary that the recipe asks for could be fitted or imported."""
    missing = published.totals["missing"]
    return dg.AssetCheckResult(passed=not missing, check_name="all_found", metadata=missing)


def _num_retried(published: Published) -> int:
    """Rows or rejects of inputs that could not be read this time."""
    by_status = published.totals.get("rows_by_status", {})
    return sum(by_status.get(s, 0) + published.rejects.get(s, 0) for s in RETRIED)
