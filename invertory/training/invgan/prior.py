"""Keeps the latents that M draws and the codes that D infers equally distributed.

InvGAN: Invertable GANs, Ghosh et al., section 3.2: MMD gives M "a direct learning signal". The
gradient alone is slow: M's weights are large relative to a step of the joint training, while the
codes of images can settle in a few directions of w that no draw reaches. Section 5 mentions the
solution of autoencoders: estimating the density of codes afterwards. `update_mapping` does so
continuously, with the Gaussian of the codes so far, so that D and G train on the draws that will be
used. In addition, the MMD of a small batch covers little of a covariance: `CodeMemory` keeps the
codes of earlier batches.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from invertory.encoders.invgan import InvGANEncoder
from invertory.generators.dcgan import SingleWGenerator
from invertory.generators.stylegan2 import MappingNetwork, StyleGAN2
from invertory.generators.stylegan2_layers import FullyConnected
from invertory.training.stylegan2.latent_prior import LatentPrior

CENTRE = 8.0  # standard deviations; see `follow_prior`
NUM_DRAWS = 20_000  # draws to estimate the Gaussian of a trained M


class CodeMemory(nn.Module):
    """The latest inferred codes [size, w_dim] of real images, newest first."""

    codes: Tensor
    num: Tensor

    def __init__(self, size: int, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(size, w_dim))
        self.register_buffer("num", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def joined(self, codes: Tensor) -> Tensor:
        """Store codes [B, w_dim]; return them with the earlier ones, detached [up to size]."""
        known = self.codes[: int(self.num)].clone()
        with torch.enable_grad():
            both = torch.cat([codes, known])
        kept = both[: len(self.codes)]
        self.codes[: len(kept)] = kept
        self.num.fill_(len(kept))
        return both


@torch.no_grad()
def learn_mapping(
    prior: LatentPrior, generator: StyleGAN2 | SingleWGenerator, rng: torch.Generator
) -> None:
    """Set `prior` to the Gaussian of M's current draws."""
    z = torch.randn(NUM_DRAWS, generator.z_dim, generator=rng, device=rng.device)
    w = generator.mapping(z).float()
    prior.mean.copy_(w.mean(0))
    prior.covariance.copy_(torch.cov(w.T))


def set_mapping_to_prior(
    generator: StyleGAN2 | SingleWGenerator, encoder: InvGANEncoder, prior: LatentPrior
) -> Tensor:
    """Make the mapping draw exactly from `prior`, whose `root` must be up to date.

    StyleGAN2's mapping ends in a leaky ReLU, which is linear for positive inputs. Therefore w is
    shifted by a constant, which the affine layers and the head compensate. Returns this constant
    [w_dim], by which the caller must shift the prior.
    """
    deviation = prior.covariance.diagonal().sqrt()
    if isinstance(generator, SingleWGenerator):
        update_mapping(generator, prior)
        return torch.zeros_like(deviation)
    shift = CENTRE * deviation - prior.mean
    _shift_latents(generator, encoder, shift)
    _normalise_hidden_layers(generator.mapping)
    _set_last_layer(generator.mapping, prior.mean + shift, prior.root)
    return shift


def update_mapping(generator: StyleGAN2 | SingleWGenerator, prior: LatentPrior) -> None:
    """As `set_mapping_to_prior`, for a mapping that already draws from a Gaussian: w is not
    shifted.
    """
    if isinstance(generator, SingleWGenerator):
        generator.mapping.follow(prior.mean, prior.root)
    else:
        _set_last_layer(generator.mapping, prior.mean, prior.root)


@torch.no_grad()
def _shift_latents(generator: StyleGAN2, encoder: InvGANEncoder, shift: Tensor) -> None:
    """Shift every w and code by `shift` without changing images."""
    encoder.head.code.bias.add_(shift)
    for name, module in generator.synthesis.named_modules():
        if name.endswith("affine") and isinstance(module, FullyConnected):
            gain = module.weight_gain / module.bias_gain
            module.bias.sub_(module.weight @ shift * gain)


def _normalise_hidden_layers(mapping: MappingNetwork) -> None:
    """Make all layers but the last return the normalised z, shifted to positive values."""
    for i in range(mapping.num_layers - 1):
        layer = mapping.get_submodule(f"fc{i}")
        eye = torch.eye(len(mapping.w_avg), device=mapping.w_avg.device)
        _set_layer(layer, eye, eye.new_full((1,), CENTRE if i == 0 else 0.0))


@torch.no_grad()
def _set_last_layer(mapping: MappingNetwork, mean: Tensor, root: Tensor) -> None:
    """Set the last layer to the prior."""
    mapping.w_avg.copy_(mean)
    last = mapping.num_layers - 1
    centre = CENTRE * root.sum(1) if last else 0.0
    _set_layer(mapping.get_submodule(f"fc{last}"), root, mean - centre)


@torch.no_grad()
def _set_layer(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Make layer and activation compute weight x + bias, where that is positive."""
    assert isinstance(layer, FullyConnected)
    layer.weight.copy_(weight / (layer.weight_gain * math.sqrt(2)))
    layer.bias.copy_((bias / (layer.bias_gain * math.sqrt(2))).expand_as(layer.bias))
