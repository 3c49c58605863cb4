"""Image2StyleGAN with a Gaussian prior on W+ that keeps latents near the generator's own.

Improving Inversion and Generation Diversity in StyleGAN using a Gaussianized Latent Space, Wulff
and Torralba 2020, https://arxiv.org/abs/2009.06529. II2S (Zhu et al. 2020,
https://arxiv.org/abs/2012.09036) uses the same regulariser, and so does the first term of L_W (eq.
3.6 of the thesis) in Spatially-Adaptive Multilayer Selection (Parmar et al. 2022,
https://arxiv.org/abs/2206.08357). The distance uses the inverse of the covariance; the last paper
prints the covariance itself. Ours is averaged over rows and axes, so its mean over draws is 1 for
every generator.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from invertory.inversion.image2stylegan import EmbeddingObjective, mean_start
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import LossWeights, Schedule
from invertory.inversion.w_space import Whitening

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.engine.objective import Tensors
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _PriorObjective(EmbeddingObjective):
    """Image2StyleGAN's losses plus the prior."""

    prior_weight: float
    whitening: Whitening

    @property
    def weights(self) -> Mapping[str, float]:
        method = self.method
        return {
            "mse": method.mse_weight,
            "perceptual": method.perceptual_weight,
            "prior": self.prior_weight,
        }

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        terms = EmbeddingObjective.losses(self, variables, constants, step)
        return terms | {"prior": prior(variables["w_plus"], self.whitening)}


def prior(w_plus: Tensor, whitening: Whitening) -> Tensor:
    """Mean square in P_N: (v - mu)^T C^-1 (v - mu), averaged over rows and axes => [N].

    The expected value is 1 for draws of the mapping.
    """
    with torch.autocast(w_plus.device.type, enabled=False):
        return whitening(w_plus).square().mean((1, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianPrior(LossWeights):
    """Optimise W+ under the prior. The method is deterministic: seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    terms: ClassVar[tuple[str, ...]] = ("mse", "perceptual", "prior")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    needs: ClassVar[tuple[str, ...]] = ()

    learning_rate: float = field(default=0.05, metadata={"description": "Adam's rate at its peak"})
    schedule: Schedule = field(
        default="ramp", metadata={"description": "constant, or the projector's ramp up and down"}
    )
    prior_weight: float = field(
        default=1e-3, metadata={"description": "weight of the mean square in P_N (lambda of II2S)"}
    )
    w_samples: int = field(
        default=10_000, metadata={"description": "number of draws for the mean and covariance"}
    )

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`."""
        objective = _PriorObjective(
            self,
            self.view(generator, perceptual, targets),
            partial(mean_start, generator, generator.num_ws),
            self.prior_weight,
            Whitening.of(generator, self.w_samples),
        )
        outcome = self.engine().run(objective, targets, seeds=seeds, batch_size=batch_size)
        return outcome.inversion(self.space, outcome.results["w_plus"])
