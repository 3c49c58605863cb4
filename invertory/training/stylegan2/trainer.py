"""Trains StyleGAN2, from an autoencoder or by the paper's schedule.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020,
https://arxiv.org/abs/1912.04958: non-saturating loss, lazy R1, style mixing, average of weights,
path length (optional); adaptive augmentation of https://arxiv.org/abs/2006.06676 (optional).

With a small budget, results are better if the generator starts as the decoder of an autoencoder
(compare Larsen et al., "Autoencoding beyond pixels", 2016, https://arxiv.org/abs/1512.09300).
Phases, in images: (1) encoder and generator reconstruct, as a variational autoencoder; (2) a
discriminator is added, on reconstructions and on draws from the Gaussian of the latents; (3) mostly
draws. Without images in (1) and (2) this is the plain schedule, with a trained mapping network.

    training = stylegan2(pixels, StyleGAN2TrainingConfig(images=400_000), Compute.best())
    train(training, Path("out"), images=training.config.images)

Results are `generator` (averaged), `discriminator` and, with an autoencoder, `encoder` (one w).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from invertory.images import Pixels
from invertory.networks.classifier import AttributeClassifier
from invertory.training.adversarial import (
    discriminator_loss,
    generator_loss,
    path_length_penalty,
    path_lengths,
    r1_penalty,
)
from invertory.training.compute import Compute, TrainingImages, batch_rows
from invertory.training.stylegan2.adaptive_augmentation import AdaptiveAugmentation
from invertory.training.stylegan2.autoencoding import feature_distance, reconstruction_loss
from invertory.training.stylegan2.config import StyleGAN2TrainingConfig
from invertory.training.stylegan2.measures import GeneratorMeasures
from invertory.training.stylegan2.networks import Networks


def stylegan2(
    pixels: Pixels,
    config: StyleGAN2TrainingConfig | None = None,
    compute: Compute | None = None,
    *,
    classifier: AttributeClassifier | None = None,
) -> StyleGAN2Training:
    """A training on square uint8 [N, R, R, 3]; `classifier` is only for the Fréchet distance."""
    return StyleGAN2Training(
        pixels, config or StyleGAN2TrainingConfig(), compute or Compute.best(), classifier
    )


class StyleGAN2Training:
    """`Training` of StyleGAN2; see `invertory.training.loop.run`.

    Raises ValueError for too few images.
    """

    name = "stylegan2"

    def __init__(
        self,
        pixels: Pixels,
        config: StyleGAN2TrainingConfig,
        compute: Compute,
        classifier: AttributeClassifier | None = None,
    ) -> None:
        self.config, self.compute, self.batch_size = config, compute, config.batch_size
        if len(pixels) < config.held_out + config.batch_size or config.held_out < 2:
            raise ValueError(
                f"expected at least a batch of {config.batch_size} more images than the "
                f"{config.held_out} held out (2 or more), got {len(pixels)}: add images, or "
                "lower batch_size or held_out"
            )
        self.images = TrainingImages(pixels[: len(pixels) - config.held_out], compute)
        held_out = TrainingImages(pixels[len(pixels) - config.held_out :], compute)
        self.measures = GeneratorMeasures(held_out, compute, classifier)
        self.nets = Networks(config, compute, self.images.size_px)
        discriminator_group = [{"params": list(self.nets.discriminator.parameters())}]
        self.generator_optimiser = _adam(self.nets.groups(), config.learning_rate)
        self.discriminator_optimiser = _adam(discriminator_group, config.discriminator_rate)
        self.augmentation = AdaptiveAugmentation(config, compute.device)
        self.path_mean = torch.zeros((), device=compute.device)

    def step(self, step: int) -> dict[str, Tensor]:
        """One step of the generator (and encoder), then one of the discriminator."""
        self._set_rates(step * self.batch_size)
        real, rng = self._real(step), self.compute.rng(self.config.seed, step, 1)
        losses, synth = self._step_generator(real, step, rng)
        if self._is_adversarial(step):
            losses |= self._step_discriminator(real, synth, step, rng)
        self.nets.follow(step)
        return losses

    def _is_adversarial(self, step: int) -> bool:
        return step * self.batch_size >= self.config.autoencoder_images

    def _set_rates(self, images: int) -> None:
        factor = self.config.rate(images)
        beta = 0.0 if images >= self.config.autoencoder_images else 0.9
        for group in self.generator_optimiser.param_groups:
            group["lr"] = self.config.learning_rate * factor * group.get("scale", 1.0)
            group["betas"] = (beta, 0.99)
        for group in self.discriminator_optimiser.param_groups:
            group["lr"] = self.config.discriminator_rate * factor

    def _real(self, step: int) -> Tensor:
        rows = batch_rows(len(self.images), self.batch_size, seed=self.config.seed, step=step)
        real = self.images[rows]
        if self.config.flips:
            rng = self.compute.rng(self.config.seed, step, 2)
            draw = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device)
            real = torch.where(draw < 0.5, real.flip(3), real)
        return real

    def _step_generator(
        self, real: Tensor, step: int, rng: torch.Generator
    ) -> tuple[dict[str, Tensor], Tensor]:
        config = self.config
        num_encoded = round(config.share(step * self.batch_size) * len(real))
        target = real[:num_encoded]
        w_plus, losses = self._latents(target, len(real) - num_encoded, step, rng)
        with self.compute.autocast():
            synth = self.nets.synthesise(w_plus, rng)
        if num_encoded:
            losses["pixels"] = reconstruction_loss(synth[:num_encoded], target)
        if self._is_adversarial(step):
            losses |= self._judge(synth, target, rng)
            if config.path_weight and step % config.path_every == 0:
                losses["path"] = self._path(w_plus.detach()[-max(len(real) // 2, 1) :], rng)
        weights = {
            "pixels": config.pixel_weight,
            "generator": 1.0,
            "codes": config.code_weight,
            "features": config.feature_weight,
            "path": config.path_weight * config.path_every,
        }
        _descend(self.generator_optimiser, losses, weights)
        return losses, synth.detach()

    def _latents(
        self, target: Tensor, num_drawn: int, step: int, rng: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """w_plus of the encoded `target`, then of draws; and the loss of the codes."""
        nets, latents, losses = self.nets, [], dict[str, Tensor]()
        if len(target):
            codes, w = nets.encode(target, step, rng)
            losses["codes"] = codes.square().mean() / 2
            latents.append(nets.generator.broadcast(w))
        if num_drawn:
            latents.append(nets.draw(num_drawn, rng))
        return torch.cat(latents), losses

    def _judge(self, synth: Tensor, target: Tensor, rng: torch.Generator) -> dict[str, Tensor]:
        """Adversarial and feature losses; the first synths reconstruct `target`."""
        discriminator = self.nets.discriminator
        with self.compute.autocast():
            maps = discriminator.features(self.augmentation(synth, rng))
            losses = {"generator": generator_loss(discriminator.judge(maps[-1]))}
            if len(target) and self.config.feature_weight:
                if self.config.augment_target:  # `maps` are of augmented images
                    maps = discriminator.features(synth[: len(target)])
                with torch.no_grad():
                    target_maps = discriminator.features(target)
                losses["features"] = feature_distance([m[: len(target)] for m in maps], target_maps)
        return losses

    def _path(self, w_plus: Tensor, rng: torch.Generator) -> Tensor:
        w_plus = w_plus.requires_grad_()
        lengths = path_lengths(self.nets.synthesise(w_plus, rng), w_plus, rng)
        return path_length_penalty(lengths, self.path_mean)

    def _step_discriminator(
        self, real: Tensor, synth: Tensor, step: int, rng: torch.Generator
    ) -> dict[str, Tensor]:
        config, discriminator = self.config, self.nets.discriminator
        with self.compute.autocast():
            on_synth = discriminator(self.augmentation(synth, rng))
            augmented_real = self.augmentation(real, rng)
            on_real = discriminator(augmented_real)
        losses = {"discriminator": discriminator_loss(on_real, on_synth)}
        if step % config.r1_every == 0:
            with self.compute.autocast(False):
                losses["r1"] = r1_penalty(discriminator, augmented_real)
        _descend(
            self.discriminator_optimiser,
            losses,
            {"discriminator": 1.0, "r1": config.r1_every * config.r1_gamma / 2},
        )
        return losses | self.augmentation.follow(on_real)

    def evaluate(self) -> dict[str, float]:
        """Measures on held-out images; see `GeneratorMeasures`."""
        return self.measures.metrics(self.nets.kept_generator(), self.nets.kept_encoder())

    def sheet(self) -> Tensor:
        """Rows of real images, their reconstructions (with an autoencoder), and draws."""
        return self.measures.sheet(self.nets.kept_generator(), self.nets.kept_encoder())

    def networks(self) -> dict[str, nn.Module]:
        encoder = self.nets.kept_encoder()
        kept: dict[str, nn.Module] = {} if encoder is None else {"encoder": encoder}
        generator = self.nets.kept_generator()
        return {"generator": generator, "discriminator": self.nets.discriminator, **kept}

    def state_dict(self) -> dict[str, Any]:
        state = {name: part.state_dict() for name, part in self._components().items()}
        return state | {"augment_strength": self.augmentation.strength, "path_mean": self.path_mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._components().items():
            part.load_state_dict(state[name])
        self.augmentation.strength.copy_(state["augment_strength"])
        self.path_mean.copy_(state["path_mean"])

    def _components(self) -> dict[str, Any]:
        # the keys are those of stored training states
        optimisers = {"made": self.generator_optimiser, "judged": self.discriminator_optimiser}
        return self.nets.components() | optimisers


def _descend(
    optimiser: torch.optim.Optimizer, losses: dict[str, Tensor], weights: dict[str, float]
) -> None:
    """Minimise the weighted sum of losses over the parameters of this optimiser only.

    The other network receives no gradients and need not be frozen.
    """
    total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
    optimiser.zero_grad(set_to_none=True)
    own = [p for group in optimiser.param_groups for p in group["params"]]
    torch.autograd.backward(total, inputs=own)
    optimiser.step()


def _adam(groups: list[dict[str, Any]], rate: float) -> torch.optim.Adam:
    return torch.optim.Adam(groups, lr=rate, betas=(0.0, 0.99), eps=1e-8, fused=True)
