"""The interface of trainers, and the state of a run; `loop.train` executes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

Progress = Callable[
    [int, int, Mapping[str, float]], None
]  # images seen, total images, losses or metrics


class CompositeState:
    """A state that consists of the states of its components."""

    def _components(self) -> dict[str, Any]:
        """Networks, optimisers and other components with a state, by name."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._components().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._components().items():
            part.load_state_dict(state[name])


class Training(Protocol):
    """The trainer of a method: its networks, optimisers and averages, and an optimisation step."""

    @property
    def name(self) -> str:
        """Name of the method: stylegan2, attribute_classifier, ..."""
        ...

    @property
    def config(self) -> Any:
        """The settings, a frozen dataclass of plain values; a run resumes only with equal ones."""
        ...

    @property
    def batch_size(self) -> int: ...

    def step(self, step: int) -> dict[str, Tensor]:
        """Take one optimisation step; all randomness derives from (seed, step).

        Returns scalar losses on the device: reading them at each step would stall a GPU.
        """
        ...

    def evaluate(self) -> dict[str, float]:
        """Metrics on held-out data; must not affect later steps."""
        ...

    def sheet(self) -> Tensor | None:
        """[3, H, W] in [-1, 1], real above and synthesised below; None if there are no images."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to resume exactly: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def networks(self) -> dict[str, nn.Module]:
        """The resulting networks by name; each is of a class in `NETWORKS` and has a `config`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """Intervals, in images."""

    log: int
    checkpoint: int
    evaluate: int


@dataclass(slots=True)
class Run:
    """The state of one call of `train`: progress, losses and metrics."""

    training: Training
    folder: Path
    images: int
    cadence: Cadence
    progress: Progress
    steps: int = 0  # completed steps
    seconds: float = 0.0  # of training, over all calls
    # losses since the last log line: sum and count, since some occur only every few steps
    sums: dict[str, tuple[Tensor | float, int]] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)  # see `data_digests`

    @property
    def seen(self) -> int:
        return self.steps * self.training.batch_size

    @property
    def total_steps(self) -> int:
        return math.ceil(self.images / self.training.batch_size)

    def is_due(self, every: int) -> bool:
        """Whether the last step crossed a multiple of `every` images or was the final one."""
        before = self.seen - self.training.batch_size
        return self.seen // every > before // every or self.steps >= self.total_steps
