"""The Gaussian distribution of an encoder's latents, and a mapping network that samples it.

A generator that starts as the decoder of an autoencoder has no z. Its latents w are codes with
normal noise (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014,
https://arxiv.org/abs/1312.6114, with a fixed variance), close enough to normal to be sampled as w =
mean + L n. The mapping network normalises n to length sqrt(w_dim): in high dimensions, a Gaussian
concentrates on this sphere.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_layers import FullyConnected

CENTRE = 8.0  # standard deviations; see `with_prior`


class LatentPrior(nn.Module):
    """Running mean and covariance of latents w [N, w_dim]."""

    mean: Tensor
    covariance: Tensor
    root: Tensor

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(w_dim))
        self.register_buffer("covariance", torch.eye(w_dim))
        self.register_buffer("root", torch.eye(w_dim))  # L, where L L^T is the covariance

    @torch.no_grad()
    def update(self, w: Tensor, decay: float) -> None:
        """Update with a batch; the covariance is about the running mean."""
        w = w.detach().float()
        self.mean.lerp_(w.mean(0), 1 - decay)
        centred = w - self.mean
        self.covariance.lerp_(centred.T @ centred / len(w), 1 - decay)

    @torch.no_grad()
    def factorise(self) -> None:
        """Update `root`. A small jitter keeps unused directions regular."""
        jitter = 1e-4 * torch.eye(len(self.mean), device=self.mean.device)
        self.root.copy_(torch.linalg.cholesky_ex(self.covariance + jitter)[0])

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """w [n, w_dim], distributed as by the mapping network of `with_prior`."""
        z = torch.randn(n, len(self.mean), generator=rng, device=self.mean.device)
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        return self.mean + z @ self.root.T


@torch.no_grad()
def with_prior(generator: StyleGAN2, prior: LatentPrior) -> StyleGAN2:
    """A copy of the generator whose `mapping(z)` samples `prior` exactly, in a whitened w space.

    The whitened latent is CENTRE + L^-1 (w - mean), with standard deviation 1 in every direction
    and mean CENTRE. The single mapping layer ends in a leaky ReLU, which is linear for positive
    inputs, hence CENTRE. The affine layers invert the transform. Raises ValueError for mappings of
    several layers.
    """
    copied = copy.deepcopy(generator)
    layer = copied.mapping.get_submodule("fc0")
    if copied.mapping.num_layers != 1 or not isinstance(layer, FullyConnected):
        raise ValueError(f"expected a mapping of 1 layer, got {copied.mapping.num_layers}")
    layer.weight.copy_(torch.eye(len(prior.mean)) / (layer.weight_gain * math.sqrt(2)))
    layer.bias.fill_(CENTRE / (layer.bias_gain * math.sqrt(2)))  # sqrt(2): activation gain
    copied.mapping.w_avg.fill_(CENTRE)
    root = prior.root.double()
    start = prior.mean.double() - CENTRE * root.sum(1)  # the w whose whitened latent is 0
    for name, module in copied.synthesis.named_modules():
        if name.endswith("affine") and isinstance(module, FullyConnected):
            weight = module.weight.double()
            module.bias.add_((weight @ start * (module.weight_gain / module.bias_gain)).float())
            module.weight.copy_((weight @ root).float())
    return copied


@torch.no_grad()
def encoder_for(encoder: ResidualEncoder, prior: LatentPrior) -> ResidualEncoder:
    """A copy of the encoder into the w space of `with_prior`; `encoder` predicts one unscaled w."""
    copied = copy.deepcopy(encoder)
    root, centred = prior.root.double(), encoder.code.bias.double() - prior.mean.double()
    lines = torch.cat([encoder.code.weight.double(), centred[:, None]], 1)
    lines = torch.linalg.solve_triangular(root, lines, upper=False)
    copied.code.weight.copy_(lines[:, :-1].float())
    copied.code.bias.copy_((lines[:, -1] + CENTRE).float())
    return copied
