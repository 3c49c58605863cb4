"""What a materialisation must show before anything downstream trusts it, and what a person sees."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.gallery import contact_sheet

if TYPE_CHECKING:
    from pipelines.chain import Stage
    from resources.tables import Store

SHEET_PICTURES = 16
PICTURE_COLUMNS = {
    "aligned": "crop",
    "latents": "synth",
    "edits": "picture",
    "augmentation": "picture",
}


def check_names(stage: Stage) -> list[str]:
    """The blocking checks of a stage, in the order in which they are reported."""
    names = ["rows_add_up"] if stage.is_sharded else []
    if stage.name in {"images", "aligned", "attributes", "latents"}:
        names.append("reject_share")
    if stage.name == "latents":
        names += ["finite_latents", "reconstruction_floor"]
    return names


def check_specs(stage: Stage) -> list[dg.AssetCheckSpec]:
    key = dg.AssetKey(stage.asset_path)
    about = {name: check.__doc__ for name, check in CHECKS.items()}
    return [
        dg.AssetCheckSpec(name, asset=key, blocking=True, description=about[name])
        for name in check_names(stage)
    ]


def check_results(stage: Stage, store: Store, shard: str) -> list[dg.AssetCheckResult]:
    """Each check's verdict on the published shard."""
    return [CHECKS[name](stage, store, shard) for name in check_names(stage)]


def rows_add_up(stage: Stage, store: Store, shard: str) -> dg.AssetCheckResult:
    """Every input became rows or a reject: none is lost and none is counted twice."""
    footer = store.footer(stage.table, shard) or {}
    inputs = int(footer["num_inputs"])
    rejected = set(store.rejects(stage.table, shard).column("row_id").to_pylist())
    came = _inputs_seen(stage, store, shard) | (rejected if _one_row_an_input(stage) else set())
    passed = len(came) == inputs if _one_row_an_input(stage) else inputs >= len(rejected)
    return dg.AssetCheckResult(
        passed=passed,
        check_name="rows_add_up",
        metadata={"inputs": inputs, "accounted": len(came), "rejects": len(rejected)},
    )


def reject_share(stage: Stage, store: Store, shard: str) -> dg.AssetCheckResult:
    """The share of inputs that gave nothing stays under the recipe's `checks.max_reject_share`."""
    limit = float(stage.checks["max_reject_share"])
    rejected, total = _rejected(stage, store, shard)
    share = rejected / total if total else 0.0
    return dg.AssetCheckResult(
        passed=share <= limit,
        check_name="reject_share",
        metadata={"reject_share": round(share, 4), "limit": limit, "inputs": total},
    )


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
    floor = float(stage.checks["min_psnr_db"])
    psnr = store.table(stage.table, shard, columns=["psnr_db"]).column("psnr_db").to_numpy()
    median = float(np.median(psnr)) if len(psnr) else float("inf")
    return dg.AssetCheckResult(
        passed=median >= floor,
        check_name="reconstruction_floor",
        metadata={"median_psnr_db": round(min(median, 1e3), 3), "floor_db": floor, "n": len(psnr)},
    )


CHECKS = {
    "rows_add_up": rows_add_up,
    "reject_share": reject_share,
    "finite_latents": finite_latents,
    "reconstruction_floor": reconstruction_floor,
}


def contact_sheet_of(stage: Stage, store: Store, shard: str) -> str | None:
    """A data URI of the shard's first pictures; None where it has none."""
    column = PICTURE_COLUMNS.get(stage.name)
    if column is None or not store.num_rows(stage.table, shard):
        return None
    pictures = list(islice(_pictures(store, stage.table, shard, column), SHEET_PICTURES))
    sheet = contact_sheet([data for data, _ in pictures], [label for _, label in pictures])
    return "data:image/jpeg;base64," + base64.b64encode(sheet).decode()


def _pictures(store: Store, table: str, shard: str, column: str) -> Iterator[tuple[bytes, str]]:
    columns = ["crop_id", column]
    if table.startswith("edits"):
        columns += ["attribute", "step"]
    if table.startswith("latents"):
        columns += ["psnr_db"]
    for batch in store.read(table, shard, columns=columns):
        for row in batch.to_pylist():
            yield row[column]["bytes"], _label(row)


def _label(row: dict[str, Any]) -> str:
    if "attribute" in row:
        return f"{row['attribute']} {row['step']:+g}"
    if "psnr_db" in row:
        return f"{row['psnr_db']:.1f} dB"
    return str(row["crop_id"])[:8]


def _one_row_an_input(stage: Stage) -> bool:
    """Stages in which an input gives at most one row, so that rows and rejects are the inputs."""
    return stage.name in {"images", "attributes", "latents", "augmentation"}


def _inputs_seen(stage: Stage, store: Store, shard: str) -> set[str]:
    column = "uri" if stage.name == "images" else "crop_id"
    if not _one_row_an_input(stage):
        return set()
    return set(store.table(stage.table, shard, columns=[column]).column(column).to_pylist())


def _rejected(stage: Stage, store: Store, shard: str) -> tuple[int, int]:
    """(inputs that gave nothing, inputs); a duplicate is no reject, its twin has the row."""
    if stage.name == "images":
        status = store.table("images", shard, columns=["status"]).column("status")
        kept = pc.sum(pc.is_in(status, value_set=_KEPT)).as_py() or 0
        return len(status) - kept, len(status)
    footer = store.footer(stage.table, shard) or {}
    return store.rejects(stage.table, shard).num_rows, int(footer["num_inputs"])


_KEPT = pa.array(["ok", "duplicate"])
