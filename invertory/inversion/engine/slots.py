"""Slots, which hold the rows under way, and the outcome of finished rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invertory.inversion.engine.adam import per_row
from invertory.inversion.engine.objective import Objective, Start, Tensors
from invertory.inversion.method import Inversion

if TYPE_CHECKING:
    from collections.abc import Iterable

    from invertory.inversion.method import Space

EMPTY = -1
# groups kept after a row finishes; of "constants", only the results are kept
RESULTS = ("best", "last", "row")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of all rows, in the order of the targets, on the CPU."""

    results: Tensors  # name => [N, ...]: variables at the kept iterate, and constants
    steps: Tensor  # [N] int64, steps taken
    best_step: Tensor  # [N] int64, step of the kept iterate
    loss: Tensor  # [N] weighted total at the kept iterate
    terms: Tensors  # term => [N], unweighted, at the kept iterate
    is_finite: Tensor  # [N] bool

    def inversion(self, space: Space, latents: Tensor) -> Inversion:
        """Build an inversion from the method's latents [N, rows, w_dim]."""
        return Inversion(
            space=space,
            latents=latents,
            steps=self.steps,
            best_step=self.best_step,
            loss=self.loss,
            terms=self.terms,
            is_finite=self.is_finite,
        )


@dataclass(slots=True)
class Slots:
    """Rows under way. `tensors` is group => name => [B, ...]; `row` and `age` live on the host."""

    row: list[int]  # EMPTY where no row is left for the slot
    age: list[int]  # evaluations since the slot was filled
    tensors: dict[str, Tensors]

    @property
    def live(self) -> list[int]:
        """Slots that hold a row."""
        return [slot for slot, row in enumerate(self.row) if row != EMPTY]

    @property
    def device(self) -> torch.device:
        return self.tensors["row"]["step"].device

    def shallow(self) -> Slots:
        """Return the same tensors in new dictionaries."""
        tensors = {group: dict(named) for group, named in self.tensors.items()}
        return Slots(list(self.row), list(self.age), tensors)

    def write(self, slots: list[int], fresh: Slots) -> None:
        """Write the fresh rows into the given slots, in place."""
        index = self._index(slots)
        for group, named in self.tensors.items():
            for name, tensor in named.items():
                tensor.index_copy_(0, index, fresh.tensors[group][name])
        for slot, row in zip(slots, fresh.row, strict=True):
            self.row[slot], self.age[slot] = row, 0

    def select(self, slots: list[int], groups: Iterable[str] | None = None) -> Slots:
        """Copy the given slots, with all groups of tensors or only the named ones."""
        index, picked = self._index(slots), {}
        for group in groups or self.tensors:
            picked[group] = {name: tensor[index] for name, tensor in self.tensors[group].items()}
        return Slots([self.row[s] for s in slots], [self.age[s] for s in slots], picked)

    def finished(self, slots: list[int], objective: Objective) -> Slots:
        """Copy what is kept of the finished rows in the given slots."""
        piece, index = self.select(slots, RESULTS), self._index(slots)
        constants = self.tensors["constants"]
        piece.tensors["constants"] = {
            name: constants[name][index] for name in objective.results if name in constants
        }
        return piece

    def keep(self, terms: Tensor, totals: Tensor, is_known: Tensor) -> None:
        """Record the iterate of rows with a finite loss as the last, and as the best if better."""
        current = {"step": self.tensors["row"]["step"], "terms": terms, "loss": totals}
        for name in self.tensors["last"]:
            if name.startswith("variable."):
                current[name] = self.tensors["variables"][name.removeprefix("variable.")]
        best, last = self.tensors["best"], self.tensors["last"]
        is_better = is_known & (totals < best["loss"])
        self.tensors["best"] = {k: where(is_better, current[k], v) for k, v in best.items()}
        self.tensors["last"] = {k: where(is_known, current[k], v) for k, v in last.items()}

    def _index(self, slots: list[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self.device)


def open_slots(objective: Objective, start: Start, rows: list[int], is_valid: Tensor) -> Slots:
    """Open fresh slots for the rows, which begin at `start`; rows not valid [n] take no step."""
    variables = {k: v.detach().float().clone() for k, v in start.variables.items()}
    n, device = len(rows), is_valid.device
    kept = {f"variable.{k}": variables[k] for k in objective.results if k in variables}
    kept["step"] = torch.zeros(n, dtype=torch.int64, device=device)
    kept["terms"] = torch.full((n, len(objective.weights)), torch.nan, device=device)
    tensors = {
        "variables": variables,
        # clones: an expanded tensor gets its own memory; channels-last layouts are preserved
        "constants": {k: v.detach().clone() for k, v in start.constants.items()},
        "m": {k: torch.zeros_like(v) for k, v in variables.items()},
        "v": {k: torch.zeros_like(v) for k, v in variables.items()},
        "best": {**_clones(kept), "loss": torch.full((n,), torch.inf, device=device)},
        "last": {**_clones(kept), "loss": torch.full((n,), torch.nan, device=device)},
        "row": {
            "step": torch.zeros(n, dtype=torch.int64, device=device),
            "is_active": is_valid.clone(),
            "is_finite": is_valid.clone(),
        },
    }
    return Slots(list(rows), [0] * n, tensors)


def unfinished_rows(num_rows: int, done: list[Slots]) -> list[int]:
    """List the rows that are in none of the finished slots."""
    finished = {row for piece in done for row in piece.row}
    return [row for row in range(num_rows) if row not in finished]


def collect(objective: Objective, done: list[Slots]) -> Outcome:
    """Collect finished slots => outcome in the rows' order.

    A failed row returns its last iterate.
    """
    order = torch.tensor([row for piece in done for row in piece.row]).argsort()
    groups = {
        group: {
            name: torch.cat([piece.tensors[group][name] for piece in done]).cpu()[order]
            for name in done[0].tensors[group]
        }
        for group in done[0].tensors
    }
    is_finite = groups["row"]["is_finite"]
    is_best = is_finite & (objective.iterate == "best")
    kept = {k: where(is_best, v, groups["last"][k]) for k, v in groups["best"].items()}
    tensors = {k.removeprefix("variable."): v for k, v in kept.items()} | groups["constants"]
    return Outcome(
        results={k: tensors[k] for k in objective.results},
        steps=groups["row"]["step"],
        best_step=kept["step"],
        loss=kept["loss"],
        terms={name: kept["terms"][:, i] for i, name in enumerate(objective.weights)},
        is_finite=is_finite,
    )


def where(is_new: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Take per row the entries of `new` where is_new [N] is true, else those of `old`."""
    return torch.where(per_row(is_new, old), new, old)


def _clones(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}
