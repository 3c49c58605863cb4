"""Image2StyleGAN: How to Embed Images Into the StyleGAN Latent Space?, Abdal, Qin and Wonka 2019.

https://arxiv.org/abs/1904.03189. A latent in W+ starts at the mean w and follows the gradient of a
pixel loss and a perceptual loss. Ours differs in the perceptual loss: whichever is passed in
(LPIPS as a rule), not the paper's four VGG16 layers; in the best iterate being kept; and, where
`preview` is set, in judging the generator's cheap head in place of its full picture; and, where
`w_steps` is set, in steps with one w for all rows, from whose best the steps in W+ start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from invertory.inversion.engine import Engine, Precision
from invertory.inversion.objective import Start, Tensors
from invertory.inversion.view import View, ramp, squared_error

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.generators import Generator
    from invertory.inversion import Inversion, Space
    from invertory.inversion.slots import Outcome
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _Embedding:
    """The objective: eq. 1 of the paper, L = lambda_percept * L_percept + lambda_mse * L_mse."""

    method: Image2StyleGAN
    view: View
    num_rows: int  # 1: one w for every row
    results: ClassVar[tuple[str, ...]] = ("w_plus",)
    iterate: ClassVar[Literal["best", "last"]] = "best"

    @property
    def weights(self) -> Mapping[str, float]:
        return {"mse": self.method.mse_weight, "perceptual": self.method.perceptual_weight}

    def start(self, targets: Tensor, seeds: Sequence[int]) -> Start:
        G = self.view.generator
        w_plus = G.w_avg.expand(len(targets), self.num_rows, G.w_dim)
        return Start({"w_plus": w_plus}, self.view.constants(targets))

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        w_plus = variables["w_plus"].expand(-1, self.view.generator.num_ws, -1)
        synth = self.view.render(w_plus)
        return {
            "mse": squared_error(synth, constants),
            "perceptual": self.view.distance(synth, constants),
        }

    def learning_rate(self, step: Tensor) -> Tensor:
        method = self.method
        if method.schedule == "constant":
            return torch.full_like(step, method.learning_rate, dtype=torch.float64)
        shape = partial(ramp, up=method.rampup, down=method.rampdown)
        return method.learning_rate * shape(step, method.steps)

    def settle(self, variables: Tensors) -> Tensors:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Image2StyleGAN:
    """Optimise W+ from the mean w. Without draws: the seeds change nothing."""

    space: ClassVar[Space] = "w_plus"
    terms: ClassVar[tuple[str, ...]] = ("mse", "perceptual")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"

    steps: int = field(
        default=5000, metadata={"description": "Adam steps per picture; the paper's 5000"}
    )
    learning_rate: float = field(
        default=0.01, metadata={"description": "Adam's rate (at its peak)"}
    )
    schedule: Literal["constant", "ramp"] = field(
        default="constant",
        metadata={"description": "ramp: up and down as the projector; short budgets"},
    )
    rampup: float = field(default=0.05, metadata={"description": "ramp: share of steps going up"})
    rampdown: float = field(
        default=0.25, metadata={"description": "ramp: share of steps going down"}
    )
    mse_weight: float = field(
        default=1.0, metadata={"description": "of the mean square on [-1, 1]"}
    )
    perceptual_weight: float = field(
        default=1.0, metadata={"description": "of the perceptual distance"}
    )
    preview: bool = field(
        default=False,
        metadata={"description": "compare the generator's preview, not its full picture"},
    )
    loss_px: int = field(
        default=256, metadata={"description": "most pixels a side that the loss sees"}
    )
    w_steps: int = field(
        default=0, metadata={"description": "steps in W before those in W+ (ours; 0: the paper)"}
    )
    target_loss: float | None = field(
        default=None, metadata={"description": "stop a picture at this weighted loss; none: never"}
    )
    precision: Precision = field(
        default="float32", metadata={"description": "bf16: autocast networks"}
    )

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`."""
        view = View.of(generator, perceptual, targets, preview=self.preview, max_px=self.loss_px)

        def run(steps: int, num_rows: int, starts: Tensors | None = None) -> Outcome:
            """`steps` of the rows of w_plus, `num_rows` of which are free."""
            engine = Engine(steps=steps, target_loss=self.target_loss, precision=self.precision)
            objective = _Embedding(replace(self, steps=steps), view, num_rows)
            return engine.run(objective, targets, seeds=seeds, batch_size=batch_size, starts=starts)

        starts = None
        if self.w_steps:
            w = run(self.w_steps, 1).variables["w_plus"]
            starts = {"w_plus": w.expand(-1, generator.num_ws, -1)}
        outcome = run(self.steps, generator.num_ws, starts)
        return outcome.inversion(self.space, outcome.variables["w_plus"])
