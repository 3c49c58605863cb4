"""Rows under way, and what they came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invertory.inversion import Inversion
from invertory.inversion.adam import per_row
from invertory.inversion.objective import Objective, Tensors

if TYPE_CHECKING:
    from collections.abc import Iterable

    from invertory.inversion import Space

RESULTS = ("best", "last", "row")  # groups that outlive a row; its cached features do not


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the rows came to; in the order of the targets, on the CPU."""

    variables: Tensors  # name => [N, ...] at the kept iterate
    steps: Tensor  # [N] int64, steps taken
    best_step: Tensor  # [N] int64, step of the kept iterate
    loss: Tensor  # [N] weighted total there
    terms: Tensors  # term => [N] unweighted, there
    is_finite: Tensor  # [N] bool

    def inversion(self, space: Space, latents: Tensor) -> Inversion:
        """With the latents [N, rows, w_dim] that the method made of its variables."""
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

    row: list[int]
    age: list[int]  # evaluations since the slot was filled
    tensors: dict[str, Tensors]

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

    def _index(self, slots: list[int]) -> Tensor:
        return torch.tensor(slots, dtype=torch.int64, device=self.tensors["row"]["step"].device)


def collect(objective: Objective, done: list[Slots]) -> Outcome:
    """Finished slots => outcome in the rows' order; a row that failed gives its last iterate."""
    order = torch.tensor([row for piece in done for row in piece.row]).argsort()
    groups = {
        group: {
            name: torch.cat([piece.tensors[group][name] for piece in done]).cpu()[order]
            for name in done[0].tensors[group]
        }
        for group in RESULTS
    }
    is_finite = groups["row"]["is_finite"]
    is_best = is_finite & (objective.iterate == "best")
    kept = {k: where(is_best, v, groups["last"][k]) for k, v in groups["best"].items()}
    return Outcome(
        variables={k: kept[f"variable.{k}"] for k in objective.results},
        steps=groups["row"]["step"],
        best_step=kept["step"],
        loss=kept["loss"],
        terms={name: kept["terms"][:, i] for i, name in enumerate(objective.weights)},
        is_finite=is_finite,
    )


def where(is_new: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Per row: the entries of `new` where is_new [N], else those of `old`."""
    return torch.where(per_row(is_new, old), new, old)
