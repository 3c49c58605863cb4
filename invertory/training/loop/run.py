"""What a trainer is, and what a run of one knows of itself; `loop.train` runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

Progress = Callable[[int, int, Mapping[str, float]], None]  # images seen, of, losses or metrics


class CompositeState:
    """The state of a trainer that is no more than the states of its parts."""

    def _components(self) -> dict[str, Any]:
        """Networks, optimisers and the like, by name."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._components().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._components().items():
            part.load_state_dict(state[name])


class Training(Protocol):
    """One method's trainer: its networks, optimisers and averages, and one step of them."""

    @property
    def name(self) -> str:
        """Of the method: stylegan2, attribute_classifier, ..."""
        ...

    @property
    def config(self) -> Any:
        """The settings: a frozen dataclass of plain values. A run may go on only with the same."""
        ...

    @property
    def batch_size(self) -> int: ...

    def step(self, step: int) -> dict[str, Tensor]:
        """One optimisation step; all randomness from generators of (seed, step).

        Returns scalar losses, left on the device: reading one each step would stall a GPU.
        """
        ...

    def evaluate(self) -> dict[str, float]:
        """Metrics on held-out data; must not change what later steps do."""
        ...

    def sheet(self) -> Tensor | None:
        """[3, H, W] in [-1, 1]: real above, made below; None where there is nothing to see."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None: ...

    def networks(self) -> dict[str, nn.Module]:
        """What is to be kept, by name; each of a class of `NETWORKS`, with a `config`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """How often, in images."""

    log: int
    checkpoint: int
    evaluate: int


@dataclass(slots=True)
class Run:
    """One call of `train`: how far it is, and what it has told."""

    training: Training
    folder: Path
    images: int
    cadence: Cadence
    progress: Progress
    steps: int = 0  # done
    seconds: float = 0.0  # of training, over all calls
    # losses since the last line: sum and count, for some come only every few steps
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
        """Whether the step just done crossed a multiple of `every` images, or was the last."""
        before = self.seen - self.training.batch_size
        return self.seen // every > before // every or self.steps >= self.total_steps
