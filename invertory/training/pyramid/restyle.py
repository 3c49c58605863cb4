"""Trains ReStyle: an encoder that sees the image together with its current reconstruction.

ReStyle, Alaluf et al. 2021, https://arxiv.org/abs/2104.02699. The first iteration sees the image of
the mean latent; each iteration adds an offset to the latent: w_{t+1} = w_t + E(x, G(w_t)). Losses
of all iterations are summed, without gradients between iterations, as in the code. All styles are
predicted from the coarsest map. The losses are those of pSp or e4e, as selected by `base`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from invertory.encoders.pyramid import Heads, Taps
from invertory.inversion.restyle import refine
from invertory.training.pyramid.e4e import E4EConfig, E4ETraining
from invertory.training.pyramid.likeness import PART
from invertory.training.pyramid.psp import TargetBatch
from invertory.training.reconstruction import render


@dataclass(frozen=True, slots=True, kw_only=True)
class ReStyleConfig(E4EConfig):
    """Settings of a run; e4e's additions are active if `base` is e4e."""

    images: int = 800_000
    base: Literal["psp", "e4e"] = "psp"
    iterations: int = 5


class ReStyleTraining(E4ETraining[ReStyleConfig]):
    """`Training` of ReStyle's encoder; see `PyramidEncoderTraining` for its arguments."""

    name = "restyle"
    taps: Taps = "coarsest"
    input_channels: Literal[3, 6] = 6

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        _check(self.config)
        average = self._synthesise(self._mean(1))[0]
        for network in (self._encoder.network, self._encoder.average):
            network.set_average(average)

    @property
    def heads(self) -> Heads:
        """The heads of `base`."""
        return self.config.base

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss; e4e's are 0 unless `base` is e4e."""
        is_e4e = self.config.base == "e4e"
        added = ("delta_norm", "adversarial")
        return {k: v if is_e4e or k not in added else 0.0 for k, v in super().weights.items()}

    def _accumulate(self, batch: TargetBatch, step: int) -> dict[str, Tensor]:
        """The losses of all iterations, summed."""
        real, num_deltas = batch.images, self.num_deltas(step)
        network, sums = self._encoder.network, dict[str, Tensor]()
        codes, synth = self._mean(len(real)), self._average(len(real))
        for _ in range(self.config.iterations):
            with self.compute.autocast():
                codes = codes + network.residual(real, synth, num_deltas=num_deltas)
            losses, new_synth = self._losses(codes, batch)
            losses |= self._latent_losses(codes, num_deltas)
            torch.autograd.backward(self._total(losses))
            codes, synth = codes.detach(), new_synth.detach()
            sums = {name: sums.get(name, 0.0) + loss.detach() for name, loss in losses.items()}
        return sums | self._step_judge(codes, num_deltas, step)

    def invert(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, H] => final codes of the average encoder [N, num_ws, w_dim]."""
        return self.iterated(images)[-1]

    @torch.no_grad()
    def iterated(self, images: Tensor) -> list[Tensor]:
        """The codes after each iteration."""
        network, px = self._encoder.average, self._real.size_px
        with self.compute.autocast():
            return list(
                refine(
                    lambda synth: network.residual(images, synth),
                    lambda w_plus: render(self.generator, w_plus, px),
                    self._mean(len(images)),
                    self.config.iterations,
                )
            )

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Measures of the last iteration, and the MSE after each on the first held-out images."""
        real = self._real[torch.arange(self._num, min(self._num + PART, len(self._real)))]
        squares = [(self._synthesise(w_plus) - real).square() for w_plus in self.iterated(real)]
        after = {f"mse_{i}": float(one.mean()) for i, one in enumerate(squares, 1)}
        return super().evaluate() | after

    def _mean(self, num: int) -> Tensor:
        """The initial latent [num, num_ws, w_dim]."""
        return self.w_mean.expand(num, self.generator.num_ws, -1)

    def _average(self, num: int) -> Tensor:
        """The image of the mean latent, [num, 3, resolution, resolution]."""
        return self._encoder.network.average_picture.expand(num, -1, -1, -1)


def _check(config: ReStyleConfig) -> None:
    """Raise ValueError for settings of partial batches, which ReStyle does not support."""
    names = ("image_px", "image_pictures", "latent_weight", "alter", "grain")
    set_names = [name for name in names if getattr(config, name)]
    if set_names:
        raise ValueError(
            f"expected none of {', '.join(names)} for ReStyle, got {', '.join(set_names)}: leave "
            "them out, they are for psp and e4e"
        )
