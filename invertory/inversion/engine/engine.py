"""The inversion engine: runs every optimisation method on many images at a time, in slots.

An *objective* defines how a row starts and what its losses are; the engine moves all rows with
Adam. It differentiates the sum of the rows' losses, so a row in a batch follows the same path as it
would alone. A row depends on its own step and never on the batch's: when a row has used up its
steps or met the target loss, the next row takes its slot, and the other rows do not change.

The loop does not wait for the device: it reads back which rows stopped early only every
`check_every` steps. A row with a non-finite loss stops and is marked; the other rows continue. When
memory runs out, the engine halves the batch.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invertory.inversion.engine.adam import RowAdam
from invertory.inversion.engine.execution import (
    Advance,
    Execution,
    compile_losses,
    is_out_of_memory,
    record_graph,
)
from invertory.inversion.engine.objective import Objective, Rows, Tensors
from invertory.inversion.engine.slots import (
    EMPTY,
    Outcome,
    Slots,
    collect,
    open_slots,
    unfinished_rows,
    where,
)
from invertory.precision import Precision, check_precision

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _RunInputs:
    """The rows to invert, which of them are valid, and the starts that the caller sets."""

    rows: Rows
    is_valid: Tensor  # [N] bool
    starts: Tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Adam over slots, with a number of steps, a loss to stop at and a precision."""

    steps: int
    target_loss: float | None = None  # a row stops when its weighted total is at or below this
    target_term: tuple[str, float] | None = None  # the same for one unweighted term
    adam: RowAdam = field(default_factory=RowAdam)
    # bfloat16: networks run under autocast, variables stay float32
    precision: Precision = "float32"
    execution: Execution = "eager"  # "compiled" and "graphed" keep the batch size constant
    check_every: int | None = None  # steps between two checks for rows that stopped early

    def __post_init__(self) -> None:
        check_precision(self.precision)

    def run(
        self,
        objective: Objective,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        batch_size: int,
        inputs: Tensors | None = None,
        is_valid: Tensor | None = None,
        starts: Tensors | None = None,
    ) -> Outcome:
        """Run targets [N, 3, H, W] float32 in [-1, 1] => outcome, `batch_size` rows at a time.

        `inputs`, name => [N, ...], holds what the objective needs for each row besides its target.
        A row that is not `is_valid` [N] takes no step: its result is its start, and its outcome is
        not finite. `starts`, name => [N, ...], replaces the start of the named variables.

        The engine evaluates iterates 0 to `steps` (0 is the start), which makes `steps` + 1
        evaluations a row. When memory runs out, it halves the batch and restarts the rows that were
        under way.

        Raises `ValueError` if a shape, the number of seeds, `batch_size` or a name in `starts` is
        wrong.
        """
        _check(targets, seeds, batch_size, self.steps)
        if is_valid is None:
            is_valid = torch.ones(len(targets), dtype=torch.bool, device=targets.device)
        _check_rows(len(targets), {**(inputs or {}), **(starts or {}), "is_valid": is_valid})
        rows = Rows(targets=targets, seeds=seeds, inputs=inputs or {})
        work = _RunInputs(rows, is_valid.to(targets.device), starts or {})
        runs = compile_losses(objective) if self.execution == "compiled" else objective
        done: list[Slots] = []
        while left := unfinished_rows(len(targets), done):
            batch_size = min(batch_size, len(left))
            try:
                self._drain(runs, work, left, batch_size, done)
            except (RuntimeError, MemoryError) as error:
                if batch_size == 1 or not is_out_of_memory(error):
                    raise
                batch_size //= 2
            else:
                break
            # the failed batch's tensors are released only here, outside the handler
            _log.warning("out of memory: continuing with batches of %d", batch_size)
            if targets.device.type == "cuda":
                torch.cuda.empty_cache()
        return collect(objective, done)

    def _drain(
        self,
        objective: Objective,
        work: _RunInputs,
        left: list[int],
        batch_size: int,
        done: list[Slots],
    ) -> None:
        """Run the rows in `left` and append the finished ones to `done`."""
        first, waiting = left[:batch_size], left[batch_size:]
        slots = self._open(objective, work, first)
        advance = self._advance(objective, slots)
        # reading back waits for the device; on the CPU there is nothing to wait for
        every = self.check_every or (1 if slots.device.type == "cpu" else 10)
        looks = 0
        while slots.live:
            advance(slots)
            slots.age = [age + 1 for age in slots.age]
            looks += 1
            finished = self._finished(slots, is_look=looks % every == 0)
            if not finished:
                continue
            done.append(slots.finished(finished, objective))
            fresh, waiting = waiting[: len(finished)], waiting[len(finished) :]
            if fresh:
                slots.write(finished[: len(fresh)], self._open(objective, work, fresh))
            if empty := finished[len(fresh) :]:
                slots = self._drop_empty(slots, empty)

    def _advance(self, objective: Objective, slots: Slots) -> Advance:
        """Return the function that moves the slots by one step."""
        step = partial(self._step, objective)
        return record_graph(step, slots) if self.execution == "graphed" else step

    def _drop_empty(self, slots: Slots, empty: list[int]) -> Slots:
        """Drop the empty slots, or keep them where the batch size has been compiled or recorded."""
        for slot in empty:
            slots.row[slot] = EMPTY
        return slots.select(slots.live) if self.execution == "eager" else slots

    def _open(self, objective: Objective, work: _RunInputs, chosen: list[int]) -> Slots:
        """Open fresh slots for the rows `chosen`."""
        rows = work.rows.select(chosen)
        device = rows.targets.device
        with torch.no_grad(), self._autocast(device):
            start = objective.start(rows)
        if unknown := sorted(set(work.starts) - set(start.variables)):
            raise ValueError(
                f"expected starts for the variables {', '.join(start.variables) or '(none)'}, got "
                f"{', '.join(unknown)}: pass what is not optimised as inputs"
            )
        index = torch.tensor(chosen, device=device)
        starts = {name: values.to(device)[index] for name, values in work.starts.items()}
        merged = replace(start, variables={**start.variables, **starts})
        return open_slots(objective, merged, chosen, work.is_valid[index])

    def _step(self, objective: Objective, slots: Slots) -> None:
        """Evaluate every slot, record the kept iterates, and move the rows that continue."""
        row = slots.tensors["row"]
        age = min(slots.age[slot] for slot in slots.live)
        is_over = age >= self.steps  # every row is at its last iterate, so no gradient is needed
        terms, totals, gradients = self._evaluate(objective, slots, with_gradient=not is_over)
        is_known = torch.isfinite(totals)
        slots.keep(terms, totals, row["is_active"] & is_known)
        is_done = row["step"] >= self.steps
        if self.target_loss is not None:
            is_done = is_done | (totals <= self.target_loss)
        if self.target_term is not None:
            name, limit = self.target_term
            is_done = is_done | (terms[:, list(objective.weights).index(name)] <= limit)
        is_sound = is_known & (is_done | _rows_finite(gradients, is_known))
        row["is_finite"] = row["is_finite"] & (is_sound | ~row["is_active"])
        is_moving = row["is_active"] & is_sound & ~is_done
        if not is_over:
            self._move(objective, slots, gradients, is_moving)
        row["is_active"] = is_moving
        row["step"] = row["step"] + is_moving

    def _evaluate(
        self, objective: Objective, slots: Slots, *, with_gradient: bool
    ) -> tuple[Tensor, Tensor, Tensors]:
        """Return terms [B, T], weighted totals [B] and each variable's gradient [B, ...]."""
        constants, step = slots.tensors["constants"], slots.tensors["row"]["step"]
        variables = slots.tensors["variables"]
        leaves = {k: v.detach().requires_grad_(with_gradient) for k, v in variables.items()}
        with torch.set_grad_enabled(with_gradient):
            with self._autocast(step.device):
                named = objective.losses(leaves, constants, step)
            terms = torch.stack([named[name].float() for name in objective.weights], dim=1)
            scales = list(objective.weights.values())
            totals = torch.stack([terms[:, i] * s for i, s in enumerate(scales)]).sum(0)
            batch_total = totals.sum()  # a sum, so a row's gradient does not depend on other rows
        if not with_gradient:
            return terms, totals, {}
        gradients = torch.autograd.grad(
            batch_total, list(leaves.values()), allow_unused=True, materialize_grads=True
        )
        return terms.detach(), totals.detach(), dict(zip(leaves, gradients, strict=True))

    def _move(
        self, objective: Objective, slots: Slots, gradients: Tensors, is_moving: Tensor
    ) -> None:
        """Take one Adam step for the moving rows; the others keep their variables and moments."""
        variables, m, v = (slots.tensors[group] for group in ("variables", "m", "v"))
        step = slots.tensors["row"]["step"]
        rate = objective.learning_rate(step)
        moved: Tensors = {}
        with torch.no_grad():
            for name, old in variables.items():
                moved[name], (new_m, new_v) = self.adam.update(
                    old, gradients[name], (m[name], v[name]), step=step, rate=rate
                )
                m[name] = where(is_moving, new_m, m[name])
                v[name] = where(is_moving, new_v, v[name])
            moved |= objective.settle(moved)
            for name, old in variables.items():
                variables[name] = where(is_moving, moved[name], old)

    def _finished(self, slots: Slots, *, is_look: bool) -> list[int]:
        """List the slots whose row has finished, from the host's step count or from the device."""
        if is_look or any(slots.age[slot] > self.steps for slot in slots.live):
            is_active = slots.tensors["row"]["is_active"].tolist()  # waits for the device
            return [slot for slot in slots.live if not is_active[slot]]
        return []

    def _autocast(self, device: torch.device) -> AbstractContextManager[object]:
        # a recording must not use values that autocast cached before it
        return torch.autocast(
            device.type,
            torch.bfloat16,
            enabled=self.precision == "bfloat16",
            cache_enabled=self.execution != "graphed",
        )


def _rows_finite(gradients: Mapping[str, Tensor], like: Tensor) -> Tensor:
    """Return [B] bool: whether every gradient of the row is finite."""
    is_finite = torch.ones_like(like)
    for gradient in gradients.values():
        is_finite = is_finite & torch.isfinite(gradient).reshape(len(like), -1).all(1)
    return is_finite


def _check(targets: Tensor, seeds: Iterable[int], batch_size: int, steps: int) -> None:
    if targets.dim() != 4 or len(targets) == 0:
        raise ValueError(
            f"expected targets [N, 3, H, W] with N of at least 1, got {list(targets.shape)}"
        )
    if (num_seeds := len(list(seeds))) != len(targets):
        raise ValueError(
            f"expected one seed per target ({len(targets)}), got {num_seeds}: pass one seed for "
            "each row, in the rows' order"
        )
    if batch_size < 1 or steps < 0:
        raise ValueError(
            f"expected batch_size of 1 or more and steps of 0 or more, got {batch_size} and {steps}"
        )


def _check_rows(num_rows: int, tensors: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.dim() == 0 or len(tensor) != num_rows:
            raise ValueError(
                f"expected {name} [{num_rows}, ...], one entry per target, got {list(tensor.shape)}"
            )
