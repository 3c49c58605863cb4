"""Fit: scored latents become the boundaries of a table; directions are taken in beside them.

Latents from a generator ("samples") are in W. Those of a "collection" in W+ are fitted on the mean
of their rows, or, as a spec says, on all rows jointly or each row by itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pyarrow as pa
import torch
from torch import Tensor

from invertory.boundaries import (
    Boundary,
    Selection,
    Solver,
    calibrate_offset,
    condition_boundary,
    condition_normal,
    fit_boundary,
    unit,
)
from invertory.editing.directions import Direction, adapt_rows
from invertory.ops import schemas
from invertory.ops.render import read_latents
from invertory.ops.scored import Scored, gather
from invertory.ops.streams import Chunk, chunk, reject

Source = Literal["samples", "collection"]
Sources = Mapping[str, Callable[[], Iterable[pa.RecordBatch]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSpec:
    """A boundary to fit; see `fit_boundary` for what the fields mean."""

    attribute: str
    score: str | None = None  # the score's name, where it is not the attribute's
    source: Source = "samples"
    rows: Literal["mean", "joint", "each"] = "mean"
    solver: Solver = "svc"
    selection: Selection = "extremes"
    ratio: float = 0.02
    threshold: float | None = None
    conditions: tuple[str, ...] = ()
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSpec:
    """A direction to take in; with `calibrate` it gets a plane from that source's scores."""

    attribute: str
    direction: Direction
    uri: str
    score: str | None = None
    calibrate: Source | None = None
    threshold: float | None = None
    conditions: tuple[str, ...] = ()
    seed: int = 0


Spec = FitSpec | ImportSpec


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Specs => rows of `schemas.boundaries`; a spec that cannot be met is a reject.

    At most `max_rows` latents of a source are held (a sample by the hash of their ids, so that
    neither the order of rows nor of shards changes a boundary).
    """

    num_ws: int
    w_dim: int
    sources: Sources
    row_resolutions: Sequence[int] | None = None
    max_rows: int = 50_000

    def __call__(self, specs: Sequence[Spec]) -> Chunk:
        _check_names(specs)
        held: dict[tuple[str, bool], Scored] = {}
        plain: dict[str, Boundary] = {}
        rows, rejects = [], []
        for spec in specs:
            try:
                plain[spec.attribute] = self._plain(spec, self._scored(spec, specs, held))
            except ValueError as error:
                rejects.append(reject(spec.attribute, "failed", error))
        for spec in specs:
            if spec.attribute not in plain:
                continue
            try:
                found = self._conditioned(spec, plain, self._scored(spec, specs, held))
                rows.append(_row(spec, found, self.table_rows(specs)))
            except ValueError as error:
                rejects.append(reject(spec.attribute, "failed", error))
        return chunk(len(specs), rows, rejects, self.schema(specs))

    def schema(self, specs: Sequence[Spec]) -> pa.Schema:
        return schemas.boundaries(self.table_rows(specs), self.w_dim)

    def table_rows(self, specs: Sequence[Spec]) -> int:
        """Rows of the table's normals: 1, or num_ws where any spec tells the rows apart."""
        return self.num_ws if any(self._is_wide(spec) for spec in specs) else 1

    def _is_wide(self, spec: Spec) -> bool:
        if isinstance(spec, FitSpec):
            return spec.rows != "mean"
        try:
            return len(self._adapted(spec)) > 1
        except ValueError:  # reported when its turn comes
            return False

    def _adapted(self, spec: ImportSpec) -> Tensor:
        rows = spec.direction.rows
        if rows.shape[1] != self.w_dim:
            raise ValueError(
                f"expected a direction of {self.w_dim} numbers a row, got {rows.shape[1]}: "
                f"{spec.uri} was made for another generator"
            )
        return adapt_rows(rows, self.num_ws, self.row_resolutions)

    def _scored(
        self, spec: Spec, specs: Sequence[Spec], held: dict[tuple[str, bool], Scored]
    ) -> Scored | None:
        """The latents that a spec asks for, read once for all specs."""
        source = spec.source if isinstance(spec, FitSpec) else spec.calibrate
        if source is None:
            return None
        family = [spec, *(other for other in specs if other.attribute in spec.conditions)]
        is_wide = any(self._is_wide(member) for member in family)
        if (source, is_wide) not in held:
            limit = max(1, self.max_rows // self.num_ws) if is_wide else self.max_rows
            found = gather(self.sources[source](), is_mean=not is_wide, max_rows=limit)
            rows = self.num_ws if is_wide else 1
            held[source, is_wide] = Scored(found.latents.expand(-1, rows, -1), found.scores)
        return held[source, is_wide]

    def _plain(self, spec: Spec, scored: Scored | None) -> Boundary:
        """The boundary before its conditions."""
        if isinstance(spec, FitSpec):
            assert scored is not None
            latents, scores = _of(spec, scored)
            return fit_boundary(
                latents,
                scores,
                ratio=spec.ratio,
                selection=spec.selection,
                rows="each" if spec.rows == "each" else "joint",
                solver=spec.solver,
                threshold=spec.threshold,
                seed=spec.seed,
            )
        normal = self._adapted(spec)
        if scored is None:
            return Boundary(normal=normal, spread=spec.direction.spread, threshold=spec.threshold)
        latents, scores = _of(spec, scored)
        return calibrate_offset(normal, latents, scores, threshold=spec.threshold, seed=spec.seed)

    def _conditioned(
        self, spec: Spec, plain: Mapping[str, Boundary], scored: Scored | None
    ) -> Boundary:
        found = plain[spec.attribute]
        missing = [name for name in spec.conditions if name not in plain]
        if missing:
            raise ValueError(f"expected its conditions {missing} to be fitted, got none of them")
        conditions = [plain[name] for name in spec.conditions]
        if not conditions:
            return found
        if scored is None or found.offset is None:
            return replace(found, normal=condition_normal(found.normal, _wide(conditions)))
        return condition_boundary(found, conditions, *_of(spec, scored), seed=spec.seed)


def read_boundaries(batches: Iterable[pa.RecordBatch]) -> dict[str, Boundary]:
    """Rows of BOUNDARIES => boundaries by attribute; equal rows are one row again."""
    found = {}
    for batch in batches:
        normals = read_latents(batch.column("normal")).double()
        for row, normal in zip(batch.drop_columns(["normal"]).to_pylist(), normals, strict=True):
            fields = {name: row[name] for name in ROW_FIELDS}
            is_one_row = bool((normal == normal[:1]).all())
            rows = unit(normal[:1] if is_one_row else normal)
            found[row["attribute"]] = Boundary(normal=rows, **fields)
    return found


ROW_FIELDS = (
    "offset", "spread", "threshold", "accuracy_validation", "accuracy_remaining",
    "num_positive", "num_negative", "solver",
)  # fmt: skip


def _row(spec: Spec, found: Boundary, num_rows: int) -> dict[str, Any]:
    return {
        "attribute": spec.attribute,
        "kind": "direction" if found.offset is None else "boundary",
        "normal": found.normal.expand(num_rows, -1).tolist(),
        "conditions": list(spec.conditions),
        "source": spec.source if isinstance(spec, FitSpec) else spec.uri,
        **{name: getattr(found, name) for name in ROW_FIELDS},
    }


def _check_names(specs: Sequence[Spec]) -> None:
    names = [spec.attribute for spec in specs]
    if len(set(names)) < len(names):
        raise ValueError(f"expected each boundary's attribute once, got {names}; rename one")
    unknown = {name for spec in specs for name in spec.conditions} - set(names)
    if unknown:
        raise ValueError(
            f"expected conditions among the boundaries {names}, got {sorted(unknown)}; add those"
        )


def _of(spec: Spec, scored: Scored) -> tuple[Tensor, Tensor]:
    """The latents that have the spec's score, and the scores."""
    name = spec.score or spec.attribute
    if name not in scored.scores:
        raise ValueError(
            f"expected scores named {name!r} for {spec.attribute!r}, got "
            f"{sorted(scored.scores)}; add a scorer for it or name another score"
        )
    scores = scored.scores[name]
    is_scored = torch.isfinite(scores)
    return scored.latents[is_scored], scores[is_scored]


def _wide(conditions: Sequence[Boundary]) -> Tensor:
    rows = max(len(condition.normal) for condition in conditions)
    return torch.stack([condition.normal.expand(rows, -1) for condition in conditions])
