"""Trains ReStyle: an encoder that sees the picture beside what it has made of it so far.

ReStyle, Alaluf et al. 2021, https://arxiv.org/abs/2104.02699. The first iteration sees the picture
of the mean latent; each adds to the latent, and its losses are added up, while no gradient reaches
the iteration before, as in the code. All styles are read off the coarsest map. The losses are those
of pSp or of e4e, as `base` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from invertory.encoders.pyramid import Heads, Taps
from invertory.inversion.restyle import refined
from invertory.training.pyramid.e4e import E4EConfig, E4ETraining
from invertory.training.pyramid.likeness import PART
from invertory.training.pyramid.psp import Goal
from invertory.training.reconstruction import render


@dataclass(frozen=True, slots=True, kw_only=True)
class ReStyleConfig(E4EConfig):
    """Settings of a run; what e4e adds to pSp acts where `base` is e4e."""

    images: int = 800_000
    base: Literal["psp", "e4e"] = "psp"
    iterations: int = 5


class ReStyleTraining(E4ETraining[ReStyleConfig]):
    """`Training` of ReStyle's encoder; see `PyramidEncoderTraining` for what it takes."""

    name = "restyle"
    taps: Taps = "coarsest"
    input_channels: Literal[3, 6] = 6

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        _check(self.config)
        average = self._drawn(self._mean(1))[0]
        for network in (self._encoder.network, self._encoder.average):
            network.set_average(average)

    @property
    def heads(self) -> Heads:
        """Those of `base`."""
        return self.config.base

    @property
    def weights(self) -> dict[str, float]:
        """Loss => weight; e4e's where `base` is e4e."""
        is_e4e = self.config.base == "e4e"
        added = ("delta_norm", "adversarial")
        return {k: v if is_e4e or k not in added else 0.0 for k, v in super().weights.items()}

    def _accumulate(self, goal: Goal, step: int) -> dict[str, Tensor]:
        """The losses of all iterations, added up."""
        real, num_deltas = goal.pictures, self.num_deltas(step)
        network, sums = self._encoder.network, dict[str, Tensor]()
        codes, synth = self._mean(len(real)), self._average(len(real))
        for _ in range(self.config.iterations):
            with self.compute.autocast():
                codes = codes + network.residual(real, synth, num_deltas=num_deltas)
            losses, made = self._losses(codes, goal)
            losses |= self._latent_losses(codes, num_deltas)
            torch.autograd.backward(self._total(losses))
            codes, synth = codes.detach(), made.detach()
            sums = {name: sums.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        return sums | self._judged(codes, num_deltas, step)

    def inverted(self, pictures: Tensor) -> Tensor:
        """pictures [N, 3, H, H] => what the average encoder says at last, [N, num_ws, w_dim]."""
        return self.iterated(pictures)[-1]

    @torch.no_grad()
    def iterated(self, pictures: Tensor) -> list[Tensor]:
        """The same after each iteration."""
        network, px = self._encoder.average, self._real.size_px
        with self.compute.autocast():
            return list(
                refined(
                    lambda synth: network.residual(pictures, synth),
                    lambda w_plus: render(self.generator, w_plus, px),
                    self._mean(len(pictures)),
                    self.config.iterations,
                )
            )

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Of the last iteration; and the mean square after each, on the first held-out pictures."""
        real = self._real[torch.arange(self._num, min(self._num + PART, len(self._real)))]
        squares = [(self._drawn(w_plus) - real).square() for w_plus in self.iterated(real)]
        after = {f"mse_{i}": float(one.mean()) for i, one in enumerate(squares, 1)}
        return super().evaluate() | after

    def _mean(self, num: int) -> Tensor:
        """The latent that all begin with, [num, num_ws, w_dim]."""
        return self.w_mean.expand(num, self.generator.num_ws, -1)

    def _average(self, num: int) -> Tensor:
        """Its picture, [num, 3, resolution, resolution]."""
        return self._encoder.network.average_picture.expand(num, -1, -1, -1)


def _check(config: ReStyleConfig) -> None:
    """Each iteration sees the whole batch beside what was made of it, at one size."""
    names = ("image_px", "image_pictures", "latent_weight", "alter", "grain")
    given = [name for name in names if getattr(config, name)]
    if given:
        raise ValueError(
            f"expected none of {', '.join(names)} for ReStyle, got {', '.join(given)}: leave them "
            "out, they are for psp and e4e"
        )
