"""Starts InvGAN from a trained GAN: its generator and discriminator become invertible.

The paper (InvGAN: Invertable GANs, Ghosh et al.) trains from scratch; this start is our own. G and
M are copied from the generator, and D's trunk from the discriminator; only the latent head is
untrained, and initially predicts the mean latent for every image. Sizes are those of the two
networks.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from invertory.encoders.invgan import InvGANEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.training.invgan.config import InvGANConfig
from invertory.training.optimiser import seeded


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmStart:
    """A StyleGAN2 without labels and its discriminator, of equal size; both are copied."""

    generator: StyleGAN2
    discriminator: StyleGAN2Discriminator

    @classmethod
    def of(cls, generator: nn.Module | None, discriminator: nn.Module | None) -> WarmStart | None:
        """None if neither is given; raises ValueError for one alone, or for other networks."""
        if generator is None and discriminator is None:
            return None
        for name, network, expected in (
            ("generator", generator, StyleGAN2),
            ("discriminator", discriminator, StyleGAN2Discriminator),
        ):
            if not isinstance(network, expected):
                got = "none" if network is None else type(network).__name__
                raise ValueError(
                    f"expected a {expected.__name__} as {name} of a warm start, got {got}: name "
                    "generator and discriminator of one StyleGAN2 training, or neither"
                )
        assert isinstance(generator, StyleGAN2)
        assert isinstance(discriminator, StyleGAN2Discriminator)
        return cls(generator=generator, discriminator=discriminator)

    def check(self, config: InvGANConfig, size_px: int) -> None:
        """Raise ValueError for another backbone, labels or sizes.

        `channels`, `discriminator_channels`, `w_dim` and `mapping_layers` of the config are
        ignored.
        """
        if config.backbone != "stylegan2":
            raise ValueError(
                f"expected backbone stylegan2 with a warm start, got {config.backbone}: leave out "
                "generator and discriminator, or the setting"
            )
        if self.generator.config["c_dim"]:
            raise ValueError(
                "expected a generator without labels, got one with c_dim > 0: name another"
            )
        sizes = (self.generator.resolution, self.discriminator.config["img_resolution"])
        if sizes != (size_px, size_px):
            raise ValueError(
                f"expected a generator and a discriminator of {size_px} px, as the data, got "
                f"{sizes[0]} and {sizes[1]} px: change size_px (or patch_px), or the networks"
            )

    def generator_copy(self) -> StyleGAN2:
        return copy.deepcopy(self.generator)

    @torch.no_grad()
    def encoder(self, config: InvGANConfig) -> InvGANEncoder:
        """A copy of the discriminator with an untrained head, whose bias is the mean latent."""

        def build() -> InvGANEncoder:
            return InvGANEncoder(
                backbone="stylegan2",
                discriminator=self.discriminator.config,
                w_dim=self.generator.w_dim,
                narrow=config.head_narrow,
                hidden=config.head_hidden,
            )

        encoder = seeded(build, config.seed + 1)
        encoder.discriminator.load_state_dict(self.discriminator.state_dict())
        encoder.head.code.bias.copy_(self.generator.w_avg)
        return encoder
