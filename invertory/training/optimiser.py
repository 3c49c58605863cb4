"""A network trained by AdamW with a cosine schedule, and the average of its weights.

Loshchilov & Hutter, "Decoupled Weight Decay Regularization", 2019,
https://arxiv.org/abs/1711.05101.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from invertory.training.compute import Compute, average_of, decay_of, update_average

Network = TypeVar("Network", bound=nn.Module)


class Schedule(Protocol):
    """The settings of a trainer that determine its optimisation."""

    @property
    def images(self) -> int:
        """Images over which the learning rate decays to 0."""
        ...

    @property
    def batch_size(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...

    @property
    def warm_up(self) -> float:
        """Share of `images` over which the rate increases."""
        ...

    @property
    def weight_decay(self) -> float: ...

    @property
    def half_life_images(self) -> float:
        """Half-life of the average of weights."""
        ...


class AveragedNetwork(Generic[Network]):
    """Trains `network`; `average`, frozen and in eval mode, is the result."""

    def __init__(self, network: Network, schedule: Schedule, compute: Compute) -> None:
        self.network = compute.place(network.train())
        self.average = average_of(self.network)
        self._schedule = schedule
        self._optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=schedule.learning_rate,
            weight_decay=schedule.weight_decay,
            fused=True,
        )

    def descend(self, loss: Tensor, step: int) -> None:
        """Take one optimisation step on `loss`."""
        self.clear()
        torch.autograd.backward(loss)
        self.advance(step)

    def clear(self) -> None:
        """Reset the gradients."""
        self._optimiser.zero_grad()

    def advance(self, step: int) -> None:
        """Take one optimisation step with the gradients accumulated since `clear`."""
        schedule = self._schedule
        rate = cosine_rate(step * schedule.batch_size / schedule.images, schedule.warm_up)
        for group in self._optimiser.param_groups:
            group["lr"] = schedule.learning_rate * rate
        self._optimiser.step()
        # a shorter memory at first, to forget the random initialisation
        decay = decay_of(schedule.half_life_images, schedule.batch_size)
        update_average(self.average, self.network, min(decay, (step + 1) / (step + 10)))

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self._optimiser.load_state_dict(state["optimiser"])


def cosine_rate(done: float, warm_up: float) -> float:
    """Factor of the learning rate, 0 to 1: linear increase over `warm_up`, then cosine decay to 0.

    `done` and `warm_up` are shares of the training.
    """
    if done < warm_up:
        return max(done, 0.01 * warm_up) / warm_up
    left = min((done - warm_up) / (1 - warm_up), 1.0)
    return 0.5 * (1 + math.cos(math.pi * left))


def seeded(make: Callable[[], Network], seed: int) -> Network:
    """Build a network whose random weights depend on `seed` only; torch's global state is kept."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()
