"""Image2StyleGAN: How to Embed Images Into the StyleGAN Latent Space?, Abdal, Qin and Wonka 2019.

https://arxiv.org/abs/1904.03189. A latent in W+ starts at the mean w and follows the gradient of a
pixel loss and a perceptual loss. Ours differs in the perceptual loss: whichever is passed in
(LPIPS as a rule), not the paper's four VGG16 layers; in the best iterate being kept; and, where
`preview` is set, in judging the generator's cheap head in place of its full picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _Embedding:
    """The objective: eq. 1 of the paper, L = lambda_percept * L_percept + lambda_mse * L_mse."""

    method: Image2StyleGAN
    view: View
    results: ClassVar[tuple[str, ...]] = ("w_plus",)
    iterate: ClassVar[Literal["best", "last"]] = "best"

    @property
    def weights(self) -> Mapping[str, float]:
        return {"mse": self.method.mse_weight, "perceptual": self.method.perceptual_weight}

    def start(self, targets: Tensor, seeds: Sequence[int]) -> Start:
        G = self.view.generator
        w_plus = G.w_avg.expand(len(targets), G.num_ws, G.w_dim)
        return Start({"w_plus": w_plus}, self.view.constants(targets))

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        synth = self.view.render(variables["w_plus"])
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
        engine = Engine(steps=self.steps, target_loss=self.target_loss, precision=self.precision)
        outcome = engine.run(_Embedding(self, view), targets, seeds=seeds, batch_size=batch_size)
        return outcome.inversion(self.space, outcome.variables["w_plus"])
