"""Trains In-Domain's domain-guided encoder on real images, through a frozen generator.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049,
eq. 2 and 3. The encoder minimises a pixel and a perceptual distance between x and G(E(x)), while a
discriminator, initialised with the GAN's own, learns to distinguish them. Paper and code differ,
and `preset` chooses:

    paper   the discriminator's raw output as a critic (eq. 2, 3), adversarial weight 0.1
    code    logistic losses, non-saturating for the encoder, adversarial weight 0.08

Both penalise the discriminator's gradient at real images (gamma 10), optionally lazily as in the
code. Distances are means, as in the code: the weights do not work with the printed sums. The
perceptual distance is a parameter, so its weight is not the paper's 5e-5, which applies to features
of a Caffe VGG16.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from invertory.encoders.residual import ResidualEncoder
from invertory.training.compute import (
    Compute,
    TrainingImages,
    average_of,
    batch_rows,
    decay_of,
    update_average,
)
from invertory.training.reconstruction import mean_psnr_db, reconstruct, render, sheet_of, shrink

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.images import Pixels
    from invertory.perceptual import Perceptual

Preset = Literal["paper", "code"]
ADVERSARIAL_WEIGHT: dict[Preset, float] = {"paper": 0.1, "code": 0.08}
NUM_SHOWN = 8  # images of a sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainGuidedEncoderConfig:
    """Settings of a run; the learning rate drops by a fifth in each quarter of `images`."""

    preset: Preset = "code"
    images: int = 200_000
    batch_size: int = 16
    learning_rate: float = 1e-4
    decay: float = 0.8  # factor of the rate per quarter of the run
    beta1: float = 0.9
    beta2: float = 0.99
    mse_weight: float = 1.0
    perceptual_weight: float = 1.0
    adversarial_weight: float | None = None  # None: the preset's
    adversarial_from: float = 0.0  # share of the run after which the discriminator is used
    r1_gamma: float = 10.0
    r1_every: int = 1  # steps; the penalty is multiplied by it
    mirror: bool = True
    half_life_images: float = 1_000
    held_out: int = 256  # the last images
    seed: int = 0


@dataclass
class DomainGuidedEncoderTraining:
    """`Training` of `encoder` against `discriminator` on real images; the generator is frozen.

    `pixels` uint8 [N, H, W, 3] have the discriminator's size. The encoder may be untrained, or
    better, trained on pairs; an encoder into W is extended to W+. Networks are trained in place, so
    the discriminator must not be the one behind `perceptual`. Raises ValueError for too few or too
    large images.
    """

    generator: Generator
    discriminator: nn.Module
    encoder: ResidualEncoder
    perceptual: Perceptual
    pixels: Pixels
    config: DomainGuidedEncoderConfig = field(default_factory=DomainGuidedEncoderConfig)
    compute: Compute = field(default_factory=Compute)
    name: str = "domain_guided_encoder"

    def __post_init__(self) -> None:
        config = self.config
        self._num = len(self.pixels) - config.held_out
        if self._num < config.batch_size or self.pixels.shape[1] > self.generator.resolution:
            raise ValueError(
                f"expected at least {config.held_out + config.batch_size} images of at most "
                f"{self.generator.resolution} px, the generator's, got {self.pixels.shape[:2]}"
            )
        if self.encoder.num_ws == 1:
            self.encoder = self.encoder.widen(self.generator.num_ws)
        self._real = TrainingImages(self.pixels, self.compute)
        self.encoder = self.compute.place(self.encoder.requires_grad_(True).train())
        self.discriminator = self.compute.place(self.discriminator.requires_grad_(True).train())
        self._average = average_of(self.encoder)
        self._optimisers = {
            name: torch.optim.Adam(
                network.parameters(), lr=config.learning_rate, betas=(config.beta1, config.beta2)
            )
            for name, network in (("encoder", self.encoder), ("discriminator", self.discriminator))
        }

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    @property
    def adversarial_weight(self) -> float:
        """The configured weight, or the preset's."""
        weight = self.config.adversarial_weight
        return ADVERSARIAL_WEIGHT[self.config.preset] if weight is None else weight

    def step(self, step: int) -> dict[str, Tensor]:
        """One step of the encoder, then one of the discriminator, on the same images."""
        config = self.config
        done = step * self.batch_size / config.images
        for optimiser in self._optimisers.values():
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * config.decay ** (4 * done)
        real = self._batch(step)
        is_adversarial = self.adversarial_weight > 0 and done >= config.adversarial_from
        losses, synth = self._step_encoder(real, is_adversarial)
        if is_adversarial:
            losses |= self._step_discriminator(real, synth, step)
        decay = decay_of(config.half_life_images, self.batch_size)
        update_average(self._average, self.encoder, min(decay, (step + 1) / (step + 10)))
        return {name: loss.detach() for name, loss in losses.items()}

    def _step_encoder(self, real: Tensor, is_adversarial: bool) -> tuple[dict[str, Tensor], Tensor]:
        """Minimise eq. 2 => its terms, and the detached synthesised images."""
        config = self.config
        self.discriminator.requires_grad_(False)
        with self.compute.autocast():
            synth = render(self.generator, self.encoder(real), real.shape[-1])
            features = self.perceptual.features
            distance = self.perceptual.distance(features(synth), features(real)).mean()
            fooled = self.discriminator(synth) if is_adversarial else synth.new_zeros(1)
        losses = {
            "mse": (synth.float() - real).square().mean(),
            "perceptual": distance,
            "adversarial": -self._score(fooled.float(), is_real=True),
        }
        weights = (config.mse_weight, config.perceptual_weight, self.adversarial_weight)
        terms = [weight * loss for weight, loss in zip(weights, losses.values(), strict=True)]
        self._descend("encoder", torch.stack(terms).sum())
        return losses, synth.detach()

    def _step_discriminator(self, real: Tensor, synth: Tensor, step: int) -> dict[str, Tensor]:
        """Minimise eq. 3 => its terms."""
        config = self.config
        self.discriminator.requires_grad_(True)
        with self.compute.autocast():
            real_logits, synth_logits = self.discriminator(real), self.discriminator(synth)
        gain = self._score(real_logits.float(), is_real=True)
        gain = gain + self._score(synth_logits.float(), is_real=False)
        losses = {"discriminator": -gain}
        total = -gain
        if config.r1_gamma > 0 and step % config.r1_every == 0:
            losses["r1"] = self._gradient_penalty(real)
            total = total + config.r1_every * config.r1_gamma / 2 * losses["r1"]
        self._descend("discriminator", total)
        return losses

    def _score(self, logits: Tensor, *, is_real: bool) -> Tensor:
        """The discriminator's gain for logits [N] => []: raw output or log probability."""
        signed = logits if is_real else -logits
        return (signed if self.config.preset == "paper" else -softplus(-signed)).mean()

    def _gradient_penalty(self, real: Tensor) -> Tensor:
        """E |dD / dx|^2 at real images, in float32."""
        x = real.detach().requires_grad_(True)
        with self.compute.autocast(enabled=False):
            (slope,) = torch.autograd.grad(self.discriminator(x).sum(), x, create_graph=True)
        return slope.square().sum((1, 2, 3)).mean()

    def _descend(self, name: str, loss: Tensor) -> None:
        optimiser = self._optimisers[name]
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()

    def _batch(self, step: int) -> Tensor:
        config = self.config
        real = self._real[batch_rows(self._num, self.batch_size, seed=config.seed, step=step)]
        if not config.mirror:
            return real
        rng = self.compute.rng(config.seed, step)
        is_turned = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device) < 0.5
        return torch.where(is_turned, real.flip(3), real)

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean measures of held-out images and their reconstructions by the average encoder."""
        real = self._real[torch.arange(self._num, len(self._real))]
        synth = reconstruct(self.generator, self._average, real, real.shape[-1], self.compute)
        small, features = shrink(real, synth.shape[-1]), self.perceptual.features
        pairs = zip(torch.split(small, 8), torch.split(synth, 8), strict=True)
        distances = [self.perceptual.distance(features(a), features(b)) for a, b in pairs]
        return {
            "mse": float((small - synth).square().mean()),
            "psnr_db": mean_psnr_db(small, synth),
            f"perceptual_{self.perceptual.name}": float(torch.cat(distances).mean()),
        }

    def sheet(self) -> Tensor:
        """Held-out images above, their reconstructions below."""
        real = self._real[torch.arange(self._num, min(self._num + NUM_SHOWN, len(self._real)))]
        px = real.shape[-1]
        return sheet_of(real, reconstruct(self.generator, self._average, real, px, self.compute))

    def state_dict(self) -> dict[str, Any]:
        networks = self._states()
        return {name: part.state_dict() for name, part in networks.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._states().items():
            part.load_state_dict(state[name])

    def networks(self) -> dict[str, nn.Module]:
        return {"encoder": self._average}

    def _states(self) -> dict[str, Any]:
        optimisers = {f"{name}_optimiser": o for name, o in self._optimisers.items()}
        networks = {
            "encoder": self.encoder,
            "discriminator": self.discriminator,
            "average": self._average,
        }
        return networks | optimisers
