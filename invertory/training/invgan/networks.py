"""The networks of an InvGAN training, for its three backbones, and their averages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from invertory.encoders.invgan import DiscriminatorOutput, InvGANEncoder
from invertory.generators.biggan import BigGAN
from invertory.generators.dcgan import DCGAN, SingleWGenerator
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.training.compute import Compute, average_of, decay_of, update_average
from invertory.training.invgan.config import InvGANConfig
from invertory.training.invgan.prior import (
    CodeMemory,
    learn_mapping,
    set_mapping_to_prior,
    update_mapping,
)
from invertory.training.invgan.warm_start import WarmStart
from invertory.training.optimiser import seeded
from invertory.training.stylegan2.latent_prior import LatentPrior


class Networks:
    """G, M and D with its two heads; their averages; the Gaussian of codes, and recent codes."""

    def __init__(
        self,
        config: InvGANConfig,
        compute: Compute,
        size_px: int,
        warm_start: WarmStart | None = None,
    ) -> None:
        self._config, self._compute = config, compute
        self.is_warm = warm_start is not None
        generator, encoder = _networks(config, size_px, warm_start)
        self.generator = compute.place(generator).requires_grad_(True)
        self.generator.train()
        self._freeze()
        self.encoder = compute.place(encoder).requires_grad_(True).train()
        self.prior = compute.place(LatentPrior(generator.w_dim))
        self.memory = compute.place(CodeMemory(config.mmd_memory, generator.w_dim))
        self.average = average_of(self.generator)
        self.encoder_average = average_of(self.encoder)
        self._glance = _Glance(self.encoder)

    def _freeze(self) -> None:
        """Freeze noise strengths; M if it follows the prior; and all of a finished generator."""
        for name, parameter in self.generator.named_parameters():
            # strengths stay 0: without noise, a latent determines its image
            if name.endswith("noise_strength"):
                parameter.requires_grad_(False)
        if self._config.follows_prior:
            self.generator.mapping.requires_grad_(False)
        if self._config.is_frozen:
            self.generator.eval().requires_grad_(False)

    def groups(self) -> list[dict[str, Any]]:
        """Parameter groups of the optimiser; `scale` multiplies the rate, `is_trunk` marks D's
        trunk.
        """
        config = self._config
        own = [
            _group(self.encoder.discriminator.parameters(), config.discriminator_rate, True),
            _group(self.encoder.head.parameters(), config.head_rate),
        ]
        if config.is_frozen:
            return own
        mapping = list(self.generator.mapping.parameters())
        is_mapping = {id(p) for p in mapping}
        rest = [p for p in self.generator.parameters() if id(p) not in is_mapping]
        moved = [p for p in rest if p.requires_grad]
        return [_group(moved, 1.0), _group(mapping, config.mapping_rate), *own]

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """w = M(z) [n, w_dim]; updates the mean w, unless the generator is frozen."""
        z = torch.randn(n, self.generator.z_dim, generator=rng, device=self._compute.device)
        w = self.generator.mapping(z).float()
        if not self._config.is_frozen:
            self.generator.w_avg.lerp_(w.detach().mean(0), 0.005)
        out: Tensor = w
        return out

    def synthesise(self, w: Tensor) -> Tensor:
        """w [n, w_dim] => images [n, 3, R, R], float32."""
        w_plus = w[:, None].expand(-1, self.generator.num_ws, -1)
        return self.generator.synthesis(w_plus).float()

    def look_frozen(self, x: Tensor) -> DiscriminatorOutput:
        """D on images, with constant weights: gradients reach the images only."""
        held = {f"encoder.{name}": p.detach() for name, p in self.encoder.named_parameters()}
        return cast("DiscriminatorOutput", functional_call(self._glance, held, (x,)))

    def compared(self, prior: Tensor, codes: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draws and codes for MMD: the batch's, or more of both if earlier codes are kept."""
        if not self._config.mmd_memory:
            return prior, codes
        known = self.memory.joined(codes)
        shape = (len(known), self.generator.z_dim)
        z = torch.randn(shape, generator=rng, device=self._compute.device)
        with self._compute.autocast(False):
            return self.generator.mapping(z), known

    def end_start(self) -> None:
        """Set M to the Gaussian of the codes.

        After a warm start M is kept, or set to the Gaussian of its own w if it follows the prior.
        """
        if self.is_warm:
            if not self._config.follows_prior:
                return
            rng = self._compute.rng(self._config.seed, 0, 9)
            learn_mapping(self.prior, self.generator, rng)
        self.prior.factorise()
        for generator, encoder in (
            (self.generator, self.encoder),
            (self.average, self.encoder_average),
        ):
            shift = set_mapping_to_prior(generator, encoder, self.prior)
        self.prior.mean.add_(shift)

    def follow_codes(self, codes: Tensor) -> None:
        """Update the Gaussian with codes [B, w_dim], and set M to it."""
        with self._compute.autocast(False):
            self.prior.update(codes, decay_of(self._config.prior_images, len(codes)))
            self.prior.factorise()
            update_mapping(self.generator, self.prior)

    def follow(self, step: int) -> None:
        """Update the averages, with a shorter memory at first."""
        decay = decay_of(self._config.average_images, self._config.batch_size)
        decay = min(decay, (step + 1) / (step + 10))
        update_average(self.average, self.generator, decay)
        update_average(self.encoder_average, self.encoder, decay)

    def components(self) -> dict[str, nn.Module]:
        """The components of a state, by name."""
        names = ("generator", "encoder", "prior", "memory", "average", "encoder_average")
        return {name: getattr(self, name) for name in names}


def _group(parameters: Iterable[nn.Parameter], scale: float, is_trunk: bool = False) -> Any:
    return {"params": list(parameters), "scale": scale, "is_trunk": is_trunk}


class _Glance(nn.Module):
    """`look` as the forward pass, for `functional_call`."""

    def __init__(self, encoder: InvGANEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, x: Tensor) -> DiscriminatorOutput:
        return self.encoder.discriminate(x)


def _networks(
    config: InvGANConfig, size_px: int, warm_start: WarmStart | None
) -> tuple[StyleGAN2 | SingleWGenerator, InvGANEncoder]:
    """G with M, and D with its heads: untrained, or those of the warm start."""
    if warm_start is not None:
        warm_start.check(config, size_px)
        return warm_start.generator_copy(), warm_start.encoder(config)
    if config.is_frozen:
        raise ValueError(
            "expected a generator and its discriminator for stage afterwards, got none: name both "
            "under `uses`, or choose another stage"
        )
    rng = torch.Generator().manual_seed(config.seed)
    return _generator(config, size_px, rng), _encoder(config, size_px, rng)


def _generator(
    config: InvGANConfig, size_px: int, rng: torch.Generator
) -> StyleGAN2 | SingleWGenerator:
    sizes: dict[str, Any] = {"z_dim": config.w_dim, "w_dim": config.w_dim}
    if config.backbone == "stylegan2":
        generator = StyleGAN2(
            **sizes,
            img_resolution=size_px,
            channel_table=config.channels,
            num_layers=config.mapping_layers,
            lr_multiplier=1.0,
        )
        return generator.initialise(rng)
    sizes |= {"img_channels": 1 if config.grey else 3, "channels": config.channels}
    family = {"dcgan": DCGAN, "biggan": BigGAN}[config.backbone]
    return seeded(lambda: family(resolution=size_px, **sizes), config.seed)


def _encoder(config: InvGANConfig, size_px: int, rng: torch.Generator) -> InvGANEncoder:
    channels = config.discriminator_channels
    sizes: dict[str, Any]
    if config.backbone == "stylegan2":
        sizes = {"img_resolution": size_px, "channel_table": channels, "light": True}
    else:
        img_channels = 1 if config.grey else 3
        sizes = {"resolution": size_px, "img_channels": img_channels, "channels": channels}

    def build() -> InvGANEncoder:
        return InvGANEncoder(
            backbone=config.backbone,
            discriminator=sizes,
            w_dim=config.w_dim,
            narrow=config.head_narrow,
            hidden=config.head_hidden,
        )

    encoder = seeded(build, config.seed + 1)
    if isinstance(encoder.discriminator, StyleGAN2Discriminator):
        encoder.discriminator.initialise(rng)
    return encoder
