"""Figures of a shard, added up while it is published, so that checks need not read it again.

A total takes the rows and the rejects of a shard, a batch at a time, and gives figures that go into
the shard's footer as JSON (`invertory.totals`):

    num_rows        rows of the table
    num_accounted   inputs that became rows or a reject
    num_repeated    rows and rejects whose id was there before
    num_sound       inputs that gave a row of use
    rows_by_status  {status: rows} of a table that keeps its failures as rows (images)
    num_non_finite  values of latents that are NaN or infinite
    median_psnr_db  median reconstruction; null without rows, "nan" or "inf" where it is not finite
    missing         {row_id: error} of the rejects, for tables of which every row is needed
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Set
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Total(Protocol):
    """Some figures of a shard."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that it reads."""
        ...

    def add_rows(self, rows: pa.RecordBatch) -> None: ...
    def add_rejects(self, rejects: pa.RecordBatch) -> None: ...
    def figures(self) -> dict[str, Any]: ...


class Totals:
    """Several totals as one, and the number of rows."""

    def __init__(self, *totals: Total) -> None:
        self._totals = totals
        self._num_rows = 0

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that they read; empty where the number of rows is enough."""
        return tuple(dict.fromkeys(name for total in self._totals for name in total.columns))

    def add_rows(self, rows: pa.RecordBatch) -> None:
        self._num_rows += rows.num_rows
        for total in self._totals:
            total.add_rows(rows)

    def add_rejects(self, rejects: pa.RecordBatch) -> None:
        for total in self._totals:
            total.add_rejects(rejects)

    def figures(self) -> dict[str, Any]:
        found: dict[str, Any] = {"num_rows": self._num_rows}
        for total in self._totals:
            found |= total.figures()
        return found


class InputTotal:
    """Inputs that are accounted for, counted twice, and sound.

    `input_of` gives the id of the input behind a row or a reject. Where `sound_statuses` are given,
    the table has a column `status`, and only rows with one of these are sound.
    """

    def __init__(
        self,
        id_column: str,
        input_of: Callable[[str], str],
        sound_statuses: Set[str] | None = None,
    ) -> None:
        self._id_column, self._input_of = id_column, input_of
        self._sound_statuses = sound_statuses
        self._ids: set[str] = set()
        self._inputs: set[str] = set()
        self._sound: set[str] = set()
        self._num_repeated = 0

    @property
    def columns(self) -> tuple[str, ...]:
        return (self._id_column,) if self._sound_statuses is None else (self._id_column, "status")

    def add_rows(self, rows: pa.RecordBatch) -> None:
        self._add(rows.column(self._id_column))
        if self._sound_statuses is not None:
            statuses = pa.array(sorted(self._sound_statuses), pa.string())
            rows = rows.filter(pc.is_in(rows.column("status"), value_set=statuses))
        self._sound.update(map(self._input_of, rows.column(self._id_column).to_pylist()))

    def add_rejects(self, rejects: pa.RecordBatch) -> None:
        self._add(rejects.column("row_id"))

    def figures(self) -> dict[str, int]:
        return {
            "num_accounted": len(self._inputs),
            "num_repeated": self._num_repeated,
            "num_sound": len(self._sound),
        }

    def _add(self, ids: pa.Array) -> None:
        found = ids.to_pylist()
        num_before = len(self._ids)
        self._ids.update(found)
        self._num_repeated += len(found) - (len(self._ids) - num_before)
        self._inputs.update(map(self._input_of, found))


class StatusTotal:
    """Rows by their status."""

    columns = ("status",)

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add_rows(self, rows: pa.RecordBatch) -> None:
        self._counts.update(rows.column("status").to_pylist())

    def add_rejects(self, rejects: pa.RecordBatch) -> None:
        """Rejects are counted by status in every footer."""

    def figures(self) -> dict[str, dict[str, int]]:
        return {"rows_by_status": dict(sorted(self._counts.items()))}


class NonFiniteTotal:
    """Values of a column of tensors that are NaN or infinite."""

    def __init__(self, column: str) -> None:
        self.columns = (column,)
        self._number = 0

    def add_rows(self, rows: pa.RecordBatch) -> None:
        values = rows.column(self.columns[0])
        while pa.types.is_fixed_size_list(values.type):
            values = values.flatten()
        self._number += int((~np.isfinite(np.asarray(values))).sum())

    def add_rejects(self, rejects: pa.RecordBatch) -> None:
        """A reject has no tensor."""

    def figures(self) -> dict[str, int]:
        return {"num_non_finite": self._number}


class MedianTotal:
    """The median of a column of numbers."""

    def __init__(self, column: str) -> None:
        self.columns = (column,)
        self._values: list[np.ndarray[Any, Any]] = []

    def add_rows(self, rows: pa.RecordBatch) -> None:
        self._values.append(rows.column(self.columns[0]).to_numpy(zero_copy_only=False))

    def add_rejects(self, rejects: pa.RecordBatch) -> None:
        """A reject has no number."""

    def figures(self) -> dict[str, float | str | None]:
        values = np.concatenate(self._values) if self._values else np.empty(0)
        median = float(np.median(values)) if len(values) else None
        is_json = median is None or math.isfinite(median)
        return {f"median_{self.columns[0]}": median if is_json else str(median)}


class MissingTotal:
    """What could not be made, with the reason, for a table of which every row is needed."""

    columns = ()

    def __init__(self) -> None:
        self._errors: dict[str, str] = {}

    def add_rows(self, rows: pa.RecordBatch) -> None:
        """Rows are not missing."""

    def add_rejects(self, rejects: pa.RecordBatch) -> None:
        for reject in rejects.to_pylist():
            self._errors[reject["row_id"]] = reject["error"]

    def figures(self) -> dict[str, dict[str, str]]:
        return {"missing": self._errors}
