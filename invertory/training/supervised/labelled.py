"""Shared by the trainers on labelled portraits: sets, batches, optimisation, state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from invertory.training.compute import Compute
from invertory.training.data.portrait_batches import PortraitMix, Rows
from invertory.training.optimiser import AveragedNetwork, Network, Schedule, seeded

if TYPE_CHECKING:
    from invertory.portraits.dataset import PortraitSet

_STEPS = 1  # random stream of a step


class LabelledSettings(Schedule, Protocol):
    """Settings of the optimisation and of the data."""

    @property
    def shares(self) -> Sequence[float]:
        """Shares of the sets in a batch."""
        ...

    @property
    def held_out(self) -> int:
        """Held-out rows of each set for calibration, and again for tests."""
        ...

    @property
    def seed(self) -> int: ...


Settings = TypeVar("Settings", bound=LabelledSettings)


class LabelledTraining(Generic[Network, Settings]):
    """Base of a `Training`; subclasses add the network, the step, metrics and names.

    `sets` are portraits by name; shares are in the order of the sets. Raises ValueError if there
    are too few portraits.
    """

    def __init__(self, config: Settings, sets: Mapping[str, PortraitSet], compute: Compute) -> None:
        self.config, self._compute = config, compute
        self.mix = PortraitMix(sets, config.shares, held_out=config.held_out, compute=compute)
        self.mix.batch(config.batch_size, seed=config.seed, step=0)  # fail early for too few rows
        self._supervised = AveragedNetwork(
            seeded(self._build_network, config.seed), config, compute
        )

    def _build_network(self) -> Network:
        """Build the untrained network; it may use held-out rows of `mix`."""
        raise NotImplementedError

    @property
    def average(self) -> Network:
        """The resulting network."""
        return self._supervised.average

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def _draw_batch(self, step: int) -> tuple[Rows, torch.Generator]:
        """The rows of a step, and the random generator of its augmentation."""
        seed = self.config.seed
        rows = self.mix.batch(self.batch_size, seed=seed, step=step)
        return rows, self._compute.rng(seed, step, _STEPS)

    def sheet(self) -> Tensor | None:
        """None: there are no images to show."""
        return None

    def state_dict(self) -> dict[str, Any]:
        return self._supervised.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._supervised.load_state_dict(state)
