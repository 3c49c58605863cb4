"""Image2StyleGAN++: How to Edit the Embedded Images?, Abdal, Qin and Wonka 2020.

https://arxiv.org/abs/1911.11544. The first stage optimises W+ as Image2StyleGAN does. The second
holds the latent and optimises the noise maps under a pixel loss alone, for the high frequencies
that a latent cannot give. The stages run in turn, not jointly, which the paper found to be what
makes noise stable. Ours differs in the generator (StyleGAN2, whose maps start at its own constant
noise), in the rates and budgets (chosen for that generator), in keeping the best iterate, and in
leaving out local masks and activations.

The maps are the inversion's state: stored in half precision with the latent and used by every edit.
They take 22 kB an image at 64 px, 350 kB at 256 px and 5.6 MB at 1024 px. For a generator without
such maps, and for a preview, only the first stage runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from invertory.generators.state import synthesise
from invertory.inversion.engine.objective import Rows, Start, Tensors, Unconstrained
from invertory.inversion.engine.view import View, squared_error
from invertory.inversion.image2stylegan import EmbeddingObjective, mean_start
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.noise_maps import noise_buffers
from invertory.inversion.optimisation import Budget

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.engine.slots import Outcome
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class _NoiseObjective(Unconstrained):
    """The second stage: noise maps under the pixel loss; the perceptual distance is only measured.

    The latent is the row's input `w_plus`.
    """

    method: Image2StyleGANPlus
    view: View
    buffers: Mapping[str, Tensor]  # name => [H, W], the start of each map
    weights: ClassVar[Mapping[str, float]] = {"mse": 1.0, "perceptual": 0.0}
    iterate: ClassVar[Literal["best", "last"]] = "best"

    @property
    def results(self) -> tuple[str, ...]:
        return tuple(self.buffers)

    def start(self, rows: Rows) -> Start:
        n, device = len(rows), rows.targets.device
        maps = {k: v.expand(n, 1, -1, -1).to(device) for k, v in self.buffers.items()}
        constants = self.view.constants(rows.targets) | {"w_plus": rows.inputs["w_plus"]}
        return Start(maps, constants)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        full_image = synthesise(self.view.generator, constants["w_plus"], variables)
        synth = self.view.resize(full_image)
        with torch.no_grad():
            perceptual = self.view.distance(synth, constants)
        return {"mse": squared_error(synth, constants), "perceptual": perceptual}

    def learning_rate(self, step: Tensor) -> Tensor:
        return torch.full_like(step, self.method.noise_learning_rate, dtype=torch.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image2StyleGANPlus(Budget):
    """Optimise W+, then noise. The method is deterministic: seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    terms: ClassVar[tuple[str, ...]] = ("mse", "perceptual")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    needs: ClassVar[tuple[str, ...]] = ()
    has_state: ClassVar[bool] = True

    steps: int = field(default=1000, metadata={"description": "Adam steps in W+ per image"})
    noise_steps: int = field(
        default=200,
        metadata={
            "description": "Adam steps of the noise maps, after those in W+",
            "applies": (("steps", ">", 0), ("preview", "==", False)),
        },
    )
    noise_learning_rate: float = field(
        default=0.1,
        metadata={
            "description": "Adam's rate for the maps, whose standard deviation is 1",
            "applies": (("noise_steps", ">", 0), ("steps", ">", 0), ("preview", "==", False)),
        },
    )
    mse_weight: float = field(
        default=1.0, metadata={"description": "weight of the mean square on [-1, 1], in W+"}
    )
    perceptual_weight: float = field(
        default=1.0, metadata={"description": "weight of the perceptual distance, in W+"}
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
        """targets [N, 3, H, H] float32 in [-1, 1] => latents and noise maps; see `Method`.

        `target_loss` ends only the steps in W+; the noise always takes all its steps.
        """
        view = self.view(generator, perceptual, targets)
        first = EmbeddingObjective(self, view, partial(mean_start, generator, generator.num_ws))
        latents = self.engine().run(first, targets, seeds=seeds, batch_size=batch_size)
        w_plus = latents.results["w_plus"]
        buffers = {} if self.preview or not self.steps else noise_buffers(generator)
        if not buffers or not self.noise_steps:
            return latents.inversion(self.space, w_plus)
        second = replace(self, steps=self.noise_steps, target_loss=None)
        noise = second.engine().run(
            _NoiseObjective(self, view, buffers),
            targets,
            seeds=seeds,
            batch_size=batch_size,
            inputs={"w_plus": w_plus},
        )
        return self._join(latents, noise, list(buffers))

    def _join(self, latents: Outcome, noise: Outcome, names: list[str]) -> Inversion:
        """Join both stages. The losses are those of the latent with its maps, weighted as in W+."""
        terms = noise.terms
        return replace(
            noise.inversion(self.space, latents.results["w_plus"]),
            steps=latents.steps + noise.steps,
            best_step=latents.steps + noise.best_step,
            loss=self.mse_weight * terms["mse"] + self.perceptual_weight * terms["perceptual"],
            is_finite=latents.is_finite & noise.is_finite,
            state={name: noise.results[name].to(torch.float16) for name in names},
        )
