"""Settings that every optimisation method shares: its steps, its rate, and the compared image.

A method is a frozen dataclass that extends `Budget`, or `LossWeights` if its loss has the usual two
weights. Its own file holds only its own settings; it redeclares a field to change its default.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import torch

from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.execution import Execution
from invertory.inversion.engine.view import View, channels_last
from invertory.precision import Precision

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.generators import Generator
    from invertory.perceptual import Perceptual

Schedule = Literal["constant", "ramp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Steps, learning rate, the image that is compared, and how it is computed."""

    steps: int = field(default=1000, metadata={"description": "Adam steps per image"})
    learning_rate: float = field(
        default=0.01, metadata={"description": "Adam's rate (at its peak)"}
    )
    schedule: Schedule = field(
        default="constant",
        metadata={"description": "ramp: up and down as in the projector, for short runs"},
    )
    rampup: float = field(
        default=0.05,
        metadata={
            "description": "ramp: share of steps in which the rate rises",
            "applies": (("schedule", "==", "ramp"),),
        },
    )
    rampdown: float = field(
        default=0.25,
        metadata={
            "description": "ramp: share of steps in which the rate falls",
            "applies": (("schedule", "==", "ramp"),),
        },
    )
    preview: bool = field(
        default=False,
        metadata={"description": "compare the generator's preview instead of its full image"},
    )
    loss_px: int = field(
        default=256,
        metadata={"description": "largest side in pixels at which the loss is computed"},
    )
    target_loss: float | None = field(
        default=None, metadata={"description": "stop an image at this weighted loss; none: never"}
    )
    precision: Precision = field(
        default="float32",
        metadata={"description": "bfloat16: networks under autocast; unset: the recipe's"},
    )
    execution: Execution = field(
        default="eager",
        metadata={
            "description": "compiled: torch.compile, for long runs; graphed: CUDA "
            "graphs, for small images"
        },
    )

    def view(self, generator: Generator, perceptual: Perceptual, targets: Tensor) -> View:
        """What the loss compares; targets [N, 3, H, H]."""
        if self.precision == "bfloat16":
            channels_last(generator, perceptual)
        return View.of(generator, perceptual, targets, preview=self.preview, max_px=self.loss_px)

    def engine(self) -> Engine:
        """The engine with this budget."""
        return Engine(
            steps=self.steps,
            target_loss=self.target_loss,
            precision=self.precision,
            execution=self.execution,
        )

    def rate(self, step: Tensor) -> Tensor:
        """step [n] => Adam's rate [n], float64."""
        if self.schedule == "constant":
            return torch.full_like(step, self.learning_rate, dtype=torch.float64)
        return self.learning_rate * ramp(step, self.steps, up=self.rampup, down=self.rampdown)


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights(Budget):
    """A budget, and the weights of the two distances between images."""

    mse_weight: float = field(
        default=1.0, metadata={"description": "weight of the mean square on [-1, 1]"}
    )
    perceptual_weight: float = field(
        default=1.0, metadata={"description": "weight of the perceptual distance"}
    )


def ramp(step: Tensor, steps: int, *, up: float, down: float) -> Tensor:
    """The projector's schedule: a linear rise over the share `up`, then a cosine fall over `down`.

    Analyzing and Improving the Image Quality of StyleGAN, Karras et al. 2020, appendix D. step [n]
    => factor [n], float64; step 0 has factor 0.
    """
    t = step.double() / max(steps, 1)
    falling = ((1 - t) / down).clamp(max=1) if down > 0 else torch.ones_like(t)
    rising = (t / up).clamp(max=1) if up > 0 else torch.ones_like(t)
    return (0.5 - 0.5 * torch.cos(torch.pi * falling)) * rising
