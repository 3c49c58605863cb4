"""How an InvGAN training keeps the latents that M draws and the codes that D infers together.

InvGAN: Invertable GANs, Ghosh et al., section 3.2: MMD gives M "a direct learning signal". The
gradient alone is slow: M's weights are large beside a step of the joint game, while the codes of
images are free to settle in few directions of w, where no draw goes. In section 5 they name the
remedy of autoencoders: estimate the codes' density afterwards. `lead` does so all along, with the
Gaussian of the codes so far, so that D and G play about the draws that will be made. And MMD of one
small batch sees little of a covariance: `CodeMemory` keeps the codes of the batches before it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from invertory.encoders.invgan import InvGANEncoder
from invertory.generators.dcgan import OneW
from invertory.generators.stylegan2 import MappingNetwork, StyleGAN2
from invertory.generators.stylegan2_layers import FullyConnected
from invertory.training.stylegan2.latent_prior import LatentPrior

CENTRE = 8.0  # deviations; see `follow_prior`
NUM_DRAWS = 20_000  # for the Gaussian of an M that is trained


class CodeMemory(nn.Module):
    """The latest codes [size, w_dim] of real images, as they were inferred; the newest first."""

    codes: Tensor
    num: Tensor

    def __init__(self, size: int, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("codes", torch.zeros(size, w_dim))
        self.register_buffer("num", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def joined(self, codes: Tensor) -> Tensor:
        """These codes [B, w_dim], and those of before, held [up to size, w_dim]; takes them in."""
        known = self.codes[: int(self.num)].clone()
        with torch.enable_grad():
            both = torch.cat([codes, known])
        kept = both[: len(self.codes)]
        self.codes[: len(kept)] = kept
        self.num.fill_(len(kept))
        return both


@torch.no_grad()
def learn_mapping(prior: LatentPrior, generator: StyleGAN2 | OneW, rng: torch.Generator) -> None:
    """Make `prior` the Gaussian of what M draws now."""
    z = torch.randn(NUM_DRAWS, generator.z_dim, generator=rng, device=rng.device)
    w = generator.mapping(z).float()
    prior.mean.copy_(w.mean(0))
    prior.covariance.copy_(torch.cov(w.T))


def set_mapping_to_prior(
    generator: StyleGAN2 | OneW, encoder: InvGANEncoder, prior: LatentPrior
) -> Tensor:
    """Make the mapping draw from `prior`, exactly; its `root` is up to date.

    StyleGAN2's mapping ends in a leaky ReLU, which is linear where its input is positive. So its w
    is moved, by a constant, to where it is: the affine layers and the head take that back. Returns
    that constant [w_dim], by which the prior is to be moved, too.
    """
    deviation = prior.covariance.diagonal().sqrt()
    if isinstance(generator, OneW):
        update_mapping(generator, prior)
        return torch.zeros_like(deviation)
    shift = CENTRE * deviation - prior.mean
    _shift_latents(generator, encoder, shift)
    _normalise_hidden_layers(generator.mapping)
    _set_last_layer(generator.mapping, prior.mean + shift, prior.root)
    return shift


def update_mapping(generator: StyleGAN2 | OneW, prior: LatentPrior) -> None:
    """The same for a mapping that drew from a Gaussian near by: w stays where it is."""
    if isinstance(generator, OneW):
        generator.mapping.follow(prior.mean, prior.root)
    else:
        _set_last_layer(generator.mapping, prior.mean, prior.root)


@torch.no_grad()
def _shift_latents(generator: StyleGAN2, encoder: InvGANEncoder, shift: Tensor) -> None:
    """Every w and code by `shift`, with the same images."""
    encoder.head.code.bias.add_(shift)
    for name, module in generator.synthesis.named_modules():
        if name.endswith("affine") and isinstance(module, FullyConnected):
            gain = module.weight_gain / module.bias_gain
            module.bias.sub_(module.weight @ shift * gain)


def _normalise_hidden_layers(mapping: MappingNetwork) -> None:
    """All layers but the last give the normalised z, moved to the positive."""
    for i in range(mapping.num_layers - 1):
        layer = mapping.get_submodule(f"fc{i}")
        eye = torch.eye(len(mapping.w_avg), device=mapping.w_avg.device)
        _set_layer(layer, eye, eye.new_full((1,), CENTRE if i == 0 else 0.0))


@torch.no_grad()
def _set_last_layer(mapping: MappingNetwork, mean: Tensor, root: Tensor) -> None:
    """The last layer."""
    mapping.w_avg.copy_(mean)
    last = mapping.num_layers - 1
    centre = CENTRE * root.sum(1) if last else 0.0
    _set_layer(mapping.get_submodule(f"fc{last}"), root, mean - centre)


@torch.no_grad()
def _set_layer(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """So that layer and activation give weight x + bias where that is positive."""
    assert isinstance(layer, FullyConnected)
    layer.weight.copy_(weight / (layer.weight_gain * math.sqrt(2)))
    layer.bias.copy_((bias / (layer.bias_gain * math.sqrt(2))).expand_as(layer.bias))
