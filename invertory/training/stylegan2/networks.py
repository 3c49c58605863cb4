"""The networks of a StyleGAN2 training, and its sampled and encoded latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.training.compute import Compute, average_of, decay_of, update_average
from invertory.training.optimiser import seeded
from invertory.training.stylegan2.config import StyleGAN2TrainingConfig
from invertory.training.stylegan2.latent_prior import LatentPrior, encoder_for, with_prior


class Networks:
    """All trained networks, and running averages of generator and encoder."""

    def __init__(self, config: StyleGAN2TrainingConfig, compute: Compute, size_px: int) -> None:
        self._config, self._compute, place = config, compute, compute.place
        rng = torch.Generator().manual_seed(config.seed)
        self.generator = place(_generator(config, size_px).initialise(rng)).requires_grad_(True)
        self.discriminator = place(_discriminator(config, size_px).initialise(rng))
        self.discriminator.requires_grad_(True)
        self.prior = place(LatentPrior(config.w_dim))
        self.average = average_of(self.generator)
        self.encoder = self.encoder_average = None
        if config.has_encoder:
            self.encoder = place(seeded(lambda: _encoder(config, size_px), config.seed))
            self.encoder_average = average_of(self.encoder)
            self.generator.mapping.requires_grad_(False)  # `with_prior` sets it

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the generator's optimiser; `scale` multiplies the learning rate."""
        mapping = list(self.generator.mapping.parameters())
        groups: list[dict[str, Any]] = [{"params": list(self.generator.synthesis.parameters())}]
        if self.encoder is None:
            return [*groups, {"params": mapping, "scale": self._config.mapping_rate}]
        parameters = list(self.encoder.parameters())
        return [*groups, {"params": parameters, "scale": self._config.encoder_rate}]

    def encode(self, target: Tensor, step: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Codes [n, w_dim] of images, and w: the codes with noise, which update the prior."""
        assert self.encoder is not None
        is_first = step * self._config.batch_size < self._config.autoencoder_images
        self.encoder.train(is_first)  # later batches are too small for batch statistics
        with self._compute.autocast():
            codes = self.encoder(target)[:, 0]
        codes = codes.float()
        noise = torch.randn(codes.shape, generator=rng, device=codes.device)
        w = codes + self._config.latent_noise * noise
        self.prior.update(w, decay_of(4_000, len(target)))
        if step % 16 == 0:
            self.prior.factorise()
        return codes, w

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """w_plus [n, num_ws, w_dim] of random draws; some cross two latents at a row."""
        both = self.generator.broadcast(self._sample(2 * n, rng))
        rows, device = self.generator.num_ws, both.device
        row = torch.randint(1, rows, (n, 1), generator=rng, device=device)
        mixed = torch.rand(n, 1, generator=rng, device=device) < self._config.mixing
        swaps = mixed & (torch.arange(rows, device=device) >= row)
        return torch.where(swaps[:, :, None], both[n:], both[:n])

    def _sample(self, n: int, rng: torch.Generator) -> Tensor:
        if self._config.has_encoder:
            return self.prior.draw(n, rng)
        z = torch.randn(n, self.generator.z_dim, generator=rng, device=self._compute.device)
        w = self.generator.mapping(z)
        self.generator.mapping.w_avg.lerp_(w.detach().mean(0), 0.005)
        out: Tensor = w
        return out

    def synthesise(self, w_plus: Tensor, rng: torch.Generator) -> Tensor:
        """w_plus => images [n, 3, R, R], float32."""
        mode = "random" if self._config.noise else "none"
        out: Tensor = self.generator.synthesis(w_plus, noise_mode=mode, rng=rng).float()
        return out

    def follow(self, step: int) -> None:
        """Update the averages, with a shorter memory at first."""
        decay = decay_of(self._config.average_images, self._config.batch_size)
        decay = min(decay, (step + 1) / (step + 10))
        update_average(self.average, self.generator, decay)
        if self.encoder is not None and self.encoder_average is not None:
            update_average(self.encoder_average, self.encoder, decay)

    def kept_generator(self) -> StyleGAN2:
        """The average generator, with a mapping network that samples."""
        return with_prior(self.average, self.prior) if self._config.has_encoder else self.average

    def kept_encoder(self) -> ResidualEncoder | None:
        """The average encoder, into the w space of `kept_generator`."""
        if self.encoder_average is None:
            return None
        return encoder_for(self.encoder_average, self.prior)

    def components(self) -> dict[str, nn.Module]:
        """The components of a state, by name."""
        names = ("generator", "discriminator", "prior", "average", "encoder", "encoder_average")
        modules = {name: getattr(self, name) for name in names}
        return {name: part for name, part in modules.items() if part is not None}


def _generator(config: StyleGAN2TrainingConfig, size_px: int) -> StyleGAN2:
    """With an encoder, its mapping has the single layer that `with_prior` sets."""
    return StyleGAN2(
        z_dim=config.w_dim,
        w_dim=config.w_dim,
        img_resolution=size_px,
        channel_table=config.channels,
        num_layers=1 if config.has_encoder else config.mapping_layers,
        lr_multiplier=1.0 if config.has_encoder else 0.01,
    )


def _discriminator(config: StyleGAN2TrainingConfig, size_px: int) -> StyleGAN2Discriminator:
    return StyleGAN2Discriminator(
        img_resolution=size_px, channel_table=config.discriminator_channels, light=config.light
    )


def _encoder(config: StyleGAN2TrainingConfig, size_px: int) -> ResidualEncoder:
    return ResidualEncoder(
        resolution=size_px,
        num_ws=1,
        w_dim=config.w_dim,
        channels=config.encoder_channels,
        truncation=1.0,
    )
