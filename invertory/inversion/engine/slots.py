"""Rows under way, and what they came to."""

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
RESULTS = ("best", "last", "row")  # groups that outlive a row; of its constants only results do


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the rows came to; in the order of the targets, on the CPU."""

    results: Tensors  # name => [N, ...]: variables at the kept iterate, and constants
    steps: Tensor  # [N] int64, steps taken
    best_step: Tensor  # [N] int64, step of the kept iterate
    loss: Tensor  # [N] weighted total there
    terms: Tensors  # term => [N] unweighted, there
    is_finite: Tensor  # [N] bool

    def inversion(self, space: Space, latents: Tensor) -> Inversion:
        """With the latents [N, rows, w_dim] that the method made of its results."""
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
    """Rows under way. `tensors` is group => name => [B, ...]; `row` and `age` are the host's."""

    row: list[int]  # EMPTY where a slot has none left to take
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
        """The same tensors in dictionaries of their own."""
        tensors = {group: dict(named) for group, named in self.tensors.items()}
        return Slots(list(self.row), list(self.age), tensors)

    def write(self, slots: list[int], fresh: Slots) -> None:
        """Put the fresh rows into those slots, in place."""
        index = self._index(slots)
        for group, named in self.tensors.items():
            for name, tensor in named.items():
                tensor.index_copy_(0, index, fresh.tensors[group][name])
        for slot, row in zip(slots, fresh.row, strict=True):
            self.row[slot], self.age[slot] = row, 0

    def select(self, slots: list[int], groups: Iterable[str] | None = None) -> Slots:
        """Copies of those slots, of all groups of tensors or of the named ones."""
        index, picked = self._index(slots), {}
        for group in groups or self.tensors:
            picked[group] = {name: tensor[index] for name, tensor in self.tensors[group].items()}
        return Slots([self.row[s] for s in slots], [self.age[s] for s in slots], picked)

    def finished(self, slots: list[int], objective: Objective) -> Slots:
        """Copies of what outlives the rows in those slots."""
        piece, index = self.select(slots, RESULTS), self._index(slots)
        constants = self.tensors["constants"]
        piece.tensors["constants"] = {
            name: constants[name][index] for name in objective.results if name in constants
        }
        return piece

    def keep(self, terms: Tensor, totals: Tensor, is_known: Tensor) -> None:
        """Note the iterate of the rows whose loss is known: as the last, and as the best if so."""
        seen = {"step": self.tensors["row"]["step"], "terms": terms, "loss": totals}
        for name in self.tensors["last"]:
            if name.startswith("variable."):
                seen[name] = self.tensors["variables"][name.removeprefix("variable.")]
        best, last = self.tensors["best"], self.tensors["last"]
        is_better = is_known & (totals < best["loss"])
        self.tensors["best"] = {k: where(is_better, seen[k], v) for k, v in best.items()}
        self.tensors["last"] = {k: where(is_known, seen[k], v) for k, v in last.items()}

    def _index(self, slots: list[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self.device)


def opened(objective: Objective, start: Start, rows: list[int], is_valid: Tensor) -> Slots:
    """Fresh slots for the rows, which begin at `start`; those not valid [n] take no step."""
    variables = {k: v.detach().float().clone() for k, v in start.variables.items()}
    n, device = len(rows), is_valid.device
    kept = {f"variable.{k}": variables[k] for k in objective.results if k in variables}
    kept["step"] = torch.zeros(n, dtype=torch.int64, device=device)
    kept["terms"] = torch.full((n, len(objective.weights)), torch.nan, device=device)
    tensors = {
        "variables": variables,
        # clones: an expanded tensor gets memory of its own, channels stay last where they were
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


def unfinished(num_rows: int, done: list[Slots]) -> list[int]:
    """The rows that no finished slot had."""
    finished = {row for piece in done for row in piece.row}
    return [row for row in range(num_rows) if row not in finished]


def collect(objective: Objective, done: list[Slots]) -> Outcome:
    """Finished slots => outcome in the rows' order; a row that failed gives its last iterate."""
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
    found = {k.removeprefix("variable."): v for k, v in kept.items()} | groups["constants"]
    return Outcome(
        results={k: found[k] for k in objective.results},
        steps=groups["row"]["step"],
        best_step=kept["step"],
        loss=kept["loss"],
        terms={name: kept["terms"][:, i] for i, name in enumerate(objective.weights)},
        is_finite=is_finite,
    )


def where(is_new: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Per row: the entries of `new` where is_new [N], else those of `old`."""
    return torch.where(per_row(is_new, old), new, old)


def _clones(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}
