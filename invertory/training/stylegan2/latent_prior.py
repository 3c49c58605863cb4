"""The Gaussian of an encoder's latents, and a mapping network that draws from it.

A generator that starts as the decoder of an autoencoder has no z. Its latents w are codes with
normal noise on them (Kingma and Welling, "Auto-Encoding Variational Bayes", 2014,
https://arxiv.org/abs/1312.6114, with a fixed variance), near enough to normal that sampling needs
no more than w = mean + L n. The mapping network normalises n to length sqrt(w_dim): in many
dimensions a Gaussian lives on that very sphere.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_layers import FullyConnected

CENTRE = 8.0  # deviations; see `with_prior`


class LatentPrior(nn.Module):
    """Running mean and covariance of latents w [N, w_dim]."""

    mean: Tensor
    covariance: Tensor
    root: Tensor

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(w_dim))
        self.register_buffer("covariance", torch.eye(w_dim))
        self.register_buffer("root", torch.eye(w_dim))  # L of the covariance L L^T

    @torch.no_grad()
    def update(self, w: Tensor, decay: float) -> None:
        """Take in a batch; the covariance is about the running mean."""
        w = w.detach().float()
        self.mean.lerp_(w.mean(0), 1 - decay)
        centred = w - self.mean
        self.covariance.lerp_(centred.T @ centred / len(w), 1 - decay)

    @torch.no_grad()
    def factorise(self) -> None:
        """Bring `root` up to date. The jitter keeps a direction that is never used regular."""
        jitter = 1e-4 * torch.eye(len(self.mean), device=self.mean.device)
        self.root.copy_(torch.linalg.cholesky_ex(self.covariance + jitter)[0])

    def draw(self, n: int, rng: torch.Generator) -> Tensor:
        """w [n, w_dim], as the folded mapping network draws them."""
        z = torch.randn(n, len(self.mean), generator=rng, device=self.mean.device)
        z = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        return self.mean + z @ self.root.T


@torch.no_grad()
def with_prior(generator: StyleGAN2, prior: LatentPrior) -> StyleGAN2:
    """A copy whose `mapping(z)` draws from `prior`, exactly, in a w of its own.

    That w is whitened: CENTRE + L^-1 (w - mean), so every direction has one deviation of 1 and the
    mean is CENTRE everywhere. The one layer of the mapping ends in a leaky ReLU, which is linear
    where its input is positive: hence CENTRE. The affine layers take both back.
    """
    copied = copy.deepcopy(generator)
    layer = copied.mapping.get_submodule("fc0")
    if copied.mapping.num_layers != 1 or not isinstance(layer, FullyConnected):
        raise ValueError(f"expected a mapping of 1 layer, got {copied.mapping.num_layers}")
    layer.weight.copy_(torch.eye(len(prior.mean)) / (layer.weight_gain * math.sqrt(2)))
    layer.bias.fill_(CENTRE / (layer.bias_gain * math.sqrt(2)))  # sqrt(2): the activation's
    copied.mapping.w_avg.fill_(CENTRE)
    root = prior.root.double()
    start = prior.mean.double() - CENTRE * root.sum(1)  # w where the whitened one is 0
    for name, module in copied.synthesis.named_modules():
        if name.endswith("affine") and isinstance(module, FullyConnected):
            weight = module.weight.double()
            module.bias.add_((weight @ start * (module.weight_gain / module.bias_gain)).float())
            module.weight.copy_((weight @ root).float())
    return copied


@torch.no_grad()
def encoder_for(encoder: ResidualEncoder, prior: LatentPrior) -> ResidualEncoder:
    """A copy that gives the w of `with_prior`'s generator; `encoder` gives one w, unscaled."""
    copied = copy.deepcopy(encoder)
    root, centred = prior.root.double(), encoder.code.bias.double() - prior.mean.double()
    lines = torch.cat([encoder.code.weight.double(), centred[:, None]], 1)
    lines = torch.linalg.solve_triangular(root, lines, upper=False)
    copied.code.weight.copy_(lines[:, :-1].float())
    copied.code.bias.copy_((lines[:, -1] + CENTRE).float())
    return copied
