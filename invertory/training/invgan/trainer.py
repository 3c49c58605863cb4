"""Trains InvGAN, a GAN whose discriminator also predicts the latent of an image.

InvGAN: Invertable GANs, Ghosh et al. (no public code; written from the paper), eq. 3:

    min_G,M [ max_D L_GAN + min_D E_{w # w_R} [ |M(z) - w~|^2 + L_fm + |w~ - E(G(w~))|^2
                                                + MMD{w, w_R} ] ]

Both players descend from one pass (the paper's +, "simultaneously"): D is frozen in G's losses, and
images are detached in D's. The third term is printed as |w~ - w~|^2, which is 0; we read it as the
code of the image generated from the code. `InvGANConfig.stage` selects terms.

Differences from the paper: a pixel term beside L_fm in the full stage (`pixel_weight`; section 3.2
argues against pixels beside features and uses D's features only: 0), and L_fm itself, which eq. 2
defines as the norm of an expectation and which is a relative L1 mean per element here (losses.py).

Our additions: an initial phase as an autoencoder (as in stylegan2/trainer.py: on a CPU a plain
start takes far longer to reach faces), with D's trunk and latent head as the encoder, in every
stage. Afterwards M is set to the Gaussian of the codes and, with `prior_images`, follows it
(prior.py). With a `WarmStart`, G, M and D are those of a trained GAN, and only D trains in the
initial phase, on the latents of M's draws and on realness (`_warm_start_step`).

Stage "afterwards" is the control for "joint training inverts better": the same D, data, steps and
reconstruction terms, with G and M frozen. Realness is still trained: D's maps are the features f,
which are useful only while they distinguish synthesised from real images.

    training = InvGANTraining(pixels, InvGANConfig(), Compute.best())
    train(training, Path("out"), images=training.config.images)

Results are `generator` and its encoder `invgan`, both averaged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invertory.images import Pixels
from invertory.networks.classifier import AttributeClassifier
from invertory.training.adversarial import discriminator_loss, r1_penalty
from invertory.training.compute import Compute, TrainingImages, batch_rows, decay_of
from invertory.training.invgan.config import InvGANConfig
from invertory.training.invgan.losses import (
    ForwardPass,
    discriminator_terms,
    generator_terms,
    mean_squared_distance,
    start_terms,
    total,
)
from invertory.training.invgan.networks import Networks
from invertory.training.invgan.warm_start import WarmStart
from invertory.training.stylegan2.adaptive_augmentation import AdaptiveAugmentation
from invertory.training.stylegan2.measures import GeneratorMeasures


class InvGANTraining:
    """`Training` of InvGAN; see `invertory.training.loop.run`."""

    name = "invgan"

    def __init__(
        self,
        pixels: Pixels,
        config: InvGANConfig,
        compute: Compute,
        classifier: AttributeClassifier | None = None,
        warm_start: WarmStart | None = None,
    ) -> None:
        """Square images uint8 [N, R, R, 3]; `classifier` is only for the Fréchet distance.

        Raises ValueError for too few or too small images, or a warm start of other sizes.
        """
        self.config, self.compute, self.batch_size = config, compute, config.batch_size
        num = len(pixels) - config.held_out
        if config.held_out < 2 or num < config.batch_size:
            raise ValueError(
                f"expected {config.held_out} images held out (2 or more) and a batch of "
                f"{config.batch_size} beside them, got {len(pixels)}"
            )
        self.images = TrainingImages(pixels[:num], compute)
        self.size_px = config.patch_px or self.images.size_px
        if self.size_px > self.images.size_px:
            raise ValueError(
                f"expected images of at least {self.size_px} px for such patches, got "
                f"{self.images.size_px} px"
            )
        held_out = TrainingImages(spread_patches(pixels[num:], self.size_px), compute)
        self.measures = GeneratorMeasures(held_out, compute, classifier)
        self.nets = Networks(config, compute, self.size_px, warm_start)
        self.optimiser = torch.optim.Adam(
            self.nets.groups(), lr=config.learning_rate, betas=(0.0, 0.99), eps=1e-8, fused=True
        )
        self.augmentation = AdaptiveAugmentation(config, compute.device)

    def step(self, step: int) -> dict[str, Tensor]:
        """One step of all networks."""
        if self.config.start_images and step == self.config.start_steps:
            self.nets.end_start()
            self.optimiser.state.clear()  # the moments belong to other losses
        is_start = step < self.config.start_steps
        self._set_rates(step * self.batch_size, is_start)
        real, rng = self._real(step), self.compute.rng(self.config.seed, step, 1)
        if is_start and self.nets.is_warm:
            losses, logged = self._warm_start_step(real, step, rng)
        else:
            losses, logged = (
                self._autoencoder_step(real, rng) if is_start else self._joint_step(real, step, rng)
            )
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total(losses, self.config.weights))
        self.optimiser.step()
        self.nets.follow(step)
        return losses | logged

    def _set_rates(self, images: int, is_start: bool) -> None:
        rate = self.config.learning_rate * self.config.rate(images)
        for group in self.optimiser.param_groups:
            slowed = is_start and self.nets.is_warm and group["is_trunk"]
            group["lr"] = rate * group["scale"] * (self.config.trunk_rate if slowed else 1.0)
            group["betas"] = (0.9 if is_start else 0.0, 0.99)

    def _real(self, step: int) -> Tensor:
        rows = batch_rows(len(self.images), self.batch_size, seed=self.config.seed, step=step)
        real, rng = self.images[rows], self.compute.rng(self.config.seed, step, 2)
        if self.config.patch_px:
            real = patches(real, self.size_px, rng)
        if self.config.flips:
            draw = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device)
            real = torch.where(draw < 0.5, real.flip(3), real)
        return real

    def _autoencoder_step(
        self, real: Tensor, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Autoencoder losses; noise on the codes, so that intermediate codes give images too."""
        nets, config = self.nets, self.config
        with self.compute.autocast():
            codes = nets.encoder(real)[:, 0]
            noise = torch.randn(codes.shape, generator=rng, device=codes.device)
            synth = nets.synthesise(codes + config.latent_noise * noise)
        nets.prior.update(codes, decay_of(2_000, len(real)))
        return start_terms(synth, real, codes), {}

    def _warm_start_step(
        self, real: Tensor, step: int, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of D with G and M frozen: latents of draws, and realness, which prevents drift."""
        nets, encoder = self.nets, self.nets.encoder
        with self.compute.autocast():
            with torch.no_grad():
                w = nets.draw(len(real), rng)
                synth = nets.synthesise(w)
            realness, synth_look = encoder.realness(real), encoder.discriminate(synth)
            losses = {
                "discriminator": discriminator_loss(realness, synth_look.logits),
                "latent": mean_squared_distance(synth_look.w, w),
            }
        self._penalise(losses, real, step)
        return losses, {"sign_real": realness.detach().float().sign().mean()}

    def _penalise(self, losses: dict[str, Tensor], real: Tensor, step: int) -> None:
        """Add R1 when it is due."""
        if step % self.config.r1_every == 0:
            with self.compute.autocast(False):
                losses["r1"] = r1_penalty(self.nets.encoder.realness, real)

    def _joint_step(
        self, real: Tensor, step: int, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Eq. 3 on one batch: its losses, and values for the log."""
        config, encoder = self.config, self.nets.encoder
        with self.compute.autocast():
            run = self._pass(real, rng)
            augmented_real = real
            realness, synthness = run.real_look.logits, run.synth_look.logits
            logits = run.frozen_look.logits
            if config.augment_target:  # codes and features are those of unaugmented images
                augmented_real = self.augmentation(real, rng)
                altered = self.augmentation(run.synth, rng)
                realness = encoder.realness(augmented_real)
                synthness = encoder.realness(altered.detach())
                logits = self.nets.look_frozen(altered).logits
            losses = generator_terms(run, logits, config)
            losses |= discriminator_terms(run, realness, synthness)
        self._penalise(losses, augmented_real, step)
        return losses, self.augmentation.follow(realness)

    def _pass(self, real: Tensor, rng: torch.Generator) -> ForwardPass:
        """Codes of real images, draws, their images, and D on both."""
        nets, config = self.nets, self.config
        real_look = nets.encoder.discriminate(real)
        if config.follows_prior:
            nets.follow_codes(real_look.w)
        prior = nets.draw(len(real), rng)
        n = round(config.inferred_share * len(real)) if config.has_inferred else 0
        inferred = real_look.w[:n] if config.has_reconstruction else real_look.w[:n].detach()
        w = torch.cat([inferred, prior[n:]])
        synth = nets.synthesise(w)
        return ForwardPass(
            real=real,
            num_inferred=n,
            w=w,
            prior=prior,
            compared=nets.compared(prior, real_look.w, rng) if config.is_joint else None,
            synth=synth,
            real_look=real_look,
            frozen_look=nets.look_frozen(synth),
            synth_look=nets.encoder.discriminate(synth.detach()),
        )

    def evaluate(self) -> dict[str, float]:
        """Measures on held-out images; see `GeneratorMeasures`."""
        return self.measures.metrics(self.nets.average, self.nets.encoder_average)

    def sheet(self) -> Tensor:
        """Rows of real images, their reconstructions, and draws."""
        return self.measures.sheet(self.nets.average, self.nets.encoder_average)

    def networks(self) -> dict[str, nn.Module]:
        return {"generator": self.nets.average, "invgan": self.nets.encoder_average}

    def state_dict(self) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self._components().items()}
        return state | {"augment_strength": self.augmentation.strength}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._components().items():
            part.load_state_dict(state[name])
        self.augmentation.strength.copy_(state["augment_strength"])

    def _components(self) -> dict[str, Any]:
        return self.nets.components() | {"optimiser": self.optimiser}


def patches(x: Tensor, size_px: int, rng: torch.Generator) -> Tensor:
    """A random square [N, 3, size_px, size_px] of each image [N, 3, H, W]."""
    room = torch.tensor([x.shape[2] - size_px + 1, x.shape[3] - size_px + 1], device=x.device)
    draw = torch.rand(len(x), 2, generator=rng, device=x.device)
    corners = (draw * room).long().tolist()
    crops = [p[:, r : r + size_px, c : c + size_px] for p, (r, c) in zip(x, corners, strict=True)]
    return torch.stack(crops).contiguous(memory_format=torch.channels_last)


def spread_patches(pixels: Pixels, size_px: int) -> Pixels:
    """One square uint8 [N, size_px, size_px, 3] of each image [N, H, H, 3], cycling positions."""
    if pixels.shape[1] == size_px:
        return pixels
    side = pixels.shape[1] // size_px
    places = [divmod(i % side**2, side) for i in range(len(pixels))]
    corners = [(row * size_px, column * size_px) for row, column in places]
    return np.stack(
        [p[y : y + size_px, x : x + size_px] for p, (y, x) in zip(pixels, corners, strict=True)]
    )
