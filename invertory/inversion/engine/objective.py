"""The interface between a method and the engine: how rows start, and what their losses are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The inputs for n rows: their targets, their seeds, and their named inputs."""

    targets: Tensor  # [n, 3, H, W] in [-1, 1]
    seeds: Sequence[int]
    # name => [n, ...], such as a mask, segments or a latent
    inputs: Tensors = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: Sequence[int]) -> Rows:
        """Copy the given rows to the device of the targets."""
        index = torch.tensor(rows, device=self.targets.device)
        inputs = {name: x.to(self.targets.device)[index] for name, x in self.inputs.items()}
        return Rows(
            targets=self.targets[index], seeds=[self.seeds[row] for row in rows], inputs=inputs
        )


@dataclass(frozen=True, slots=True)
class Start:
    """Where rows begin. The first axis of every tensor is the row."""

    variables: Tensors  # name => [n, ...], which Adam moves
    constants: Tensors  # name => [n, ...], computed once per row: targets, features, draws


class Objective(Protocol):
    """A method's loss. No part of it may depend on other rows of the batch."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Term => weight in the total."""
        ...

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the variables and constants to return; variables at the kept iterate."""
        ...

    @property
    def iterate(self) -> Literal["best", "last"]:
        """Which iterate is the result."""
        ...

    def start(self, rows: Rows) -> Start:
        """Compute the variables and the constants of n rows."""
        ...

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        """Compute every term of `weights` => [n], unweighted, at each row's own `step` [n]."""
        ...

    def learning_rate(self, step: Tensor) -> Tensor:
        """step [n] => learning rate [n]."""
        ...

    def settle(self, variables: Tensors) -> Tensors:
        """Return the variables that a constraint changes after a step; an empty dict if none."""
        ...


class Unconstrained:
    """An objective without constraints."""

    __slots__ = ()

    def settle(self, variables: Tensors) -> Tensors:
        return {}


class ZeroStepObjective(Unconstrained):
    """An objective without steps: it has no variables, and its results are constants."""

    __slots__ = ()
    iterate: ClassVar[Literal["best", "last"]] = "last"

    def learning_rate(self, step: Tensor) -> Tensor:
        return torch.zeros_like(step, dtype=torch.float64)


def weighted_total(weights: Mapping[str, float], terms: Mapping[str, Tensor]) -> Tensor:
    """Sum the weighted terms, each [n] => [n]."""
    return torch.stack([weight * terms[name] for name, weight in weights.items()]).sum(0)
