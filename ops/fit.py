"""Fit: fit boundaries to scored latents, and import directions beside them.

Latents from a generator ("samples") are in W. Latents of a "collection" in W+ are fitted on the
mean of their rows by default; a spec can fit all rows jointly or each row separately.
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
    """A boundary to fit; `fit_boundary` documents the fields."""

    attribute: str
    score: str | None = None  # name of the score; None: the attribute's name
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
    """A direction to import; `calibrate` names a source whose scores give it a plane."""

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
    """Specs => rows of `schemas.boundaries`; a spec that cannot be fulfilled becomes a reject.

    At most `max_rows` latents of a source are held in memory, sampled by the hash of their ids, so
    that a boundary depends on neither the order of the rows nor that of the shards.
    """

    num_ws: int
    w_dim: int
    sources: Sources
    row_resolutions: Sequence[int] | None = None
    max_rows: int = 50_000

    def __call__(self, specs: Sequence[Spec]) -> Chunk:
        _check_names(specs)
        held: dict[tuple[str, bool], Scored] = {}
        unconditioned: dict[str, Boundary] = {}
        rows, rejects = [], []
        for spec in specs:
            try:
                unconditioned[spec.attribute] = self._fit_unconditioned(
                    spec, self._scored(spec, specs, held)
                )
            except ValueError as error:
                rejects.append(reject(spec.attribute, "failed", error))
        for spec in specs:
            if spec.attribute not in unconditioned:
                continue
            try:
                boundary = self._condition(spec, unconditioned, self._scored(spec, specs, held))
                rows.append(_row(spec, boundary, self.table_rows(specs)))
            except ValueError as error:
                rejects.append(reject(spec.attribute, "failed", error))
        return chunk(len(specs), rows, rejects, self.schema(specs))

    def schema(self, specs: Sequence[Spec]) -> pa.Schema:
        return schemas.boundaries(self.table_rows(specs), self.w_dim)

    def table_rows(self, specs: Sequence[Spec]) -> int:
        """Return the rows of the normals: num_ws if any spec distinguishes the rows, else 1."""
        return self.num_ws if any(self._is_wide(spec) for spec in specs) else 1

    def _is_wide(self, spec: Spec) -> bool:
        if isinstance(spec, FitSpec):
            return spec.rows != "mean"
        try:
            return len(self._adapted(spec)) > 1
        except ValueError:  # reported when the spec is fitted
            return False

    def _adapted(self, spec: ImportSpec) -> Tensor:
        rows = spec.direction.rows
        if rows.shape[1] != self.w_dim:
            raise ValueError(
                f"expected a direction of {self.w_dim} numbers per row, got {rows.shape[1]}: "
                f"{spec.uri} belongs to another generator; choose one made for this generator"
            )
        return adapt_rows(rows, self.num_ws, self.row_resolutions)

    def _scored(
        self, spec: Spec, specs: Sequence[Spec], held: dict[tuple[str, bool], Scored]
    ) -> Scored | None:
        """Return the latents that a spec needs, read once for all specs."""
        source = spec.source if isinstance(spec, FitSpec) else spec.calibrate
        if source is None:
            return None
        family = [spec, *(other for other in specs if other.attribute in spec.conditions)]
        is_wide = any(self._is_wide(member) for member in family)
        if (source, is_wide) not in held:
            limit = max(1, self.max_rows // self.num_ws) if is_wide else self.max_rows
            gathered = gather(self.sources[source](), is_mean=not is_wide, max_rows=limit)
            rows = self.num_ws if is_wide else 1
            held[source, is_wide] = Scored(gathered.latents.expand(-1, rows, -1), gathered.scores)
        return held[source, is_wide]

    def _fit_unconditioned(self, spec: Spec, scored: Scored | None) -> Boundary:
        """Fit or import a boundary without applying its conditions."""
        if isinstance(spec, FitSpec):
            assert scored is not None
            latents, scores = _select_scored(spec, scored)
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
        latents, scores = _select_scored(spec, scored)
        return calibrate_offset(normal, latents, scores, threshold=spec.threshold, seed=spec.seed)

    def _condition(
        self, spec: Spec, unconditioned: Mapping[str, Boundary], scored: Scored | None
    ) -> Boundary:
        boundary = unconditioned[spec.attribute]
        missing = [name for name in spec.conditions if name not in unconditioned]
        if missing:
            raise ValueError(
                f"expected boundaries for the conditions {missing}, got none; see their rejects"
            )
        conditions = [unconditioned[name] for name in spec.conditions]
        if not conditions:
            return boundary
        if scored is None or boundary.offset is None:
            return replace(
                boundary, normal=condition_normal(boundary.normal, _stack_normals(conditions))
            )
        return condition_boundary(
            boundary, conditions, *_select_scored(spec, scored), seed=spec.seed
        )


def read_boundaries(batches: Iterable[pa.RecordBatch]) -> dict[str, Boundary]:
    """Rows of BOUNDARIES => boundaries by attribute; equal rows of a normal become one row."""
    boundaries = {}
    for batch in batches:
        normals = read_latents(batch.column("normal")).double()
        for row, normal in zip(batch.drop_columns(["normal"]).to_pylist(), normals, strict=True):
            fields = {name: row[name] for name in ROW_FIELDS}
            is_one_row = bool((normal == normal[:1]).all())
            rows = unit(normal[:1] if is_one_row else normal)
            boundaries[row["attribute"]] = Boundary(normal=rows, **fields)
    return boundaries


ROW_FIELDS = (
    "offset", "spread", "threshold", "accuracy_validation", "accuracy_remaining",
    "num_positive", "num_negative", "solver",
)  # fmt: skip


def _row(spec: Spec, boundary: Boundary, num_rows: int) -> dict[str, Any]:
    return {
        "attribute": spec.attribute,
        "kind": "direction" if boundary.offset is None else "boundary",
        "normal": boundary.normal.expand(num_rows, -1).tolist(),
        "conditions": list(spec.conditions),
        "source": spec.source if isinstance(spec, FitSpec) else spec.uri,
        **{name: getattr(boundary, name) for name in ROW_FIELDS},
    }


def _check_names(specs: Sequence[Spec]) -> None:
    names = [spec.attribute for spec in specs]
    if len(set(names)) < len(names):
        raise ValueError(
            f"expected distinct attributes for the boundaries, got {names}; rename one"
        )
    unknown = {name for spec in specs for name in spec.conditions} - set(names)
    if unknown:
        raise ValueError(
            f"expected conditions among the boundaries {names}, got {sorted(unknown)}; add those"
        )


def _select_scored(spec: Spec, scored: Scored) -> tuple[Tensor, Tensor]:
    """Return the latents that have the score of the spec, and the scores."""
    name = spec.score or spec.attribute
    if name not in scored.scores:
        raise ValueError(
            f"expected scores named {name!r} for {spec.attribute!r}, got "
            f"{sorted(scored.scores)}; add a scorer for it or name another score"
        )
    scores = scored.scores[name]
    is_scored = torch.isfinite(scores)
    return scored.latents[is_scored], scores[is_scored]


def _stack_normals(conditions: Sequence[Boundary]) -> Tensor:
    rows = max(len(condition.normal) for condition in conditions)
    return torch.stack([condition.normal.expand(rows, -1) for condition in conditions])
