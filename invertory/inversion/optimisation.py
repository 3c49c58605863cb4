"""What every method by optimisation lets a recipe choose: how long, how fast, and on what picture.

A method is a frozen dataclass on top of `Budget`, or of `Weighing` where its loss has the usual two
weights; its own file holds only what is its own, and gives a field here another default by naming
it again.
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
    """Steps, rate, the picture that is compared, and how it is computed."""

    steps: int = field(default=1000, metadata={"description": "Adam steps per picture"})
    learning_rate: float = field(
        default=0.01, metadata={"description": "Adam's rate (at its peak)"}
    )
    schedule: Schedule = field(
        default="constant",
        metadata={"description": "ramp: up and down as the projector; short budgets"},
    )
    rampup: float = field(
        default=0.05,
        metadata={
            "description": "ramp: share of steps going up",
            "applies": (("schedule", "==", "ramp"),),
        },
    )
    rampdown: float = field(
        default=0.25,
        metadata={
            "description": "ramp: share of steps going down",
            "applies": (("schedule", "==", "ramp"),),
        },
    )
    preview: bool = field(
        default=False,
        metadata={"description": "compare the generator's preview, not its full picture"},
    )
    loss_px: int = field(
        default=256, metadata={"description": "most pixels a side that the loss sees"}
    )
    target_loss: float | None = field(
        default=None, metadata={"description": "stop a picture at this weighted loss; none: never"}
    )
    precision: Precision = field(
        default="float32",
        metadata={"description": "bfloat16: networks under autocast; unset: the recipe's"},
    )
    execution: Execution = field(
        default="eager",
        metadata={
            "description": "compiled: torch.compile, for long runs; graphed: CUDA graphs, for "
            "small pictures"
        },
    )

    def view(self, generator: Generator, perceptual: Perceptual, targets: Tensor) -> View:
        """What the loss looks at; targets [N, 3, H, H]."""
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
class Weighing(Budget):
    """A budget, and the weights of the two distances by which pictures are compared."""

    mse_weight: float = field(
        default=1.0, metadata={"description": "of the mean square on [-1, 1]"}
    )
    perceptual_weight: float = field(
        default=1.0, metadata={"description": "of the perceptual distance"}
    )


def ramp(step: Tensor, steps: int, *, up: float, down: float) -> Tensor:
    """The projector's schedule: linear up over the share `up` of the steps, cosine down at the end.

    Analyzing and Improving the Image Quality of StyleGAN, Karras et al. 2020, appendix D. Step 0
    has rate 0. step [n] => factor [n], float64.
    """
    t = step.double() / max(steps, 1)
    falling = ((1 - t) / down).clamp(max=1) if down > 0 else torch.ones_like(t)
    rising = (t / up).clamp(max=1) if up > 0 else torch.ones_like(t)
    return (0.5 - 0.5 * torch.cos(torch.pi * falling)) * rising
