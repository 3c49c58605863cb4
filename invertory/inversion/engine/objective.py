"""What a method tells the engine: how rows start, and what their losses are."""

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
    """What the caller knows of n rows: their targets, their seeds, and their named inputs."""

    targets: Tensor  # [n, 3, H, W] in [-1, 1]
    seeds: Sequence[int]
    inputs: Tensors = field(default_factory=dict)  # name => [n, ...]: a mask, segments, a latent

    def __len__(self) -> int:
        return len(self.targets)

    def select(self, rows: Sequence[int]) -> Rows:
        """Copies of those rows, on the device of the targets."""
        index = torch.tensor(rows, device=self.targets.device)
        inputs = {name: x.to(self.targets.device)[index] for name, x in self.inputs.items()}
        return Rows(
            targets=self.targets[index], seeds=[self.seeds[row] for row in rows], inputs=inputs
        )


@dataclass(frozen=True, slots=True)
class Start:
    """Where rows begin; every tensor has one entry per row in front."""

    variables: Tensors  # name => [n, ...], what Adam moves
    constants: Tensors  # name => [n, ...], computed once per row: targets, features, draws


class Objective(Protocol):
    """A method's loss. Nothing in it may depend on the other rows of the batch."""

    @property
    def weights(self) -> Mapping[str, float]:
        """Term => weight in the total."""
        ...

    @property
    def results(self) -> tuple[str, ...]:
        """Names of the variables, at the kept iterate, and of the constants to hand back."""
        ...

    @property
    def iterate(self) -> Literal["best", "last"]:
        """Which iterate is the result."""
        ...

    def start(self, rows: Rows) -> Start:
        """The variables and the constants of n rows."""
        ...

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        """Every term of `weights` => [n], unweighted, at the rows' own `step` [n]."""
        ...

    def learning_rate(self, step: Tensor) -> Tensor:
        """step [n] => rate [n]."""
        ...

    def settle(self, variables: Tensors) -> Tensors:
        """The variables which a constraint changes after a step (none: an empty dict)."""
        ...


class Free:
    """An objective without constraints."""

    __slots__ = ()

    def settle(self, variables: Tensors) -> Tensors:
        return {}


class Still(Free):
    """An objective without steps: it has no variables, and its results are constants."""

    __slots__ = ()
    iterate: ClassVar[Literal["best", "last"]] = "last"

    def learning_rate(self, step: Tensor) -> Tensor:
        return torch.zeros_like(step, dtype=torch.float64)


def weighted_total(weights: Mapping[str, float], terms: Mapping[str, Tensor]) -> Tensor:
    """The terms [n] that have a weight, summed with it, [n]."""
    return torch.stack([weight * terms[name] for name, weight in weights.items()]).sum(0)
