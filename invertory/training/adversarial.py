"""The adversarial losses of StyleGAN2.

Non-saturating loss: Goodfellow et al. 2014, https://arxiv.org/abs/1406.2661. R1: Mescheder et al.
2018, https://arxiv.org/abs/1801.04406, eq. 9. Lazy regularisation and path length: Karras et al.
2020, https://arxiv.org/abs/1912.04958, section 3.1 and eq. 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import softplus


def generator_loss(logits: Tensor) -> Tensor:
    """Mean of -log sigmoid(D(G(w))) over logits [N]."""
    return softplus(-logits.float()).mean()


def discriminator_loss(real: Tensor, synth: Tensor) -> Tensor:
    """Mean of -log sigmoid(D(x)) - log(1 - sigmoid(D(G(w)))) over logits [N] each."""
    return softplus(-real.float()).mean() + softplus(synth.float()).mean()


def r1_penalty(discriminator: Callable[[Tensor], Tensor], real: Tensor) -> Tensor:
    """E |dD/dx|^2 over images [N, 3, H, W]; multiplied by gamma / 2 it is the regulariser (eq. 9).

    Compute it in float32: squares of small gradients underflow in bfloat16.
    """
    images = real.detach().float().requires_grad_()
    logits = discriminator(images)
    (slopes,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return slopes.square().sum((1, 2, 3)).mean()


def path_lengths(synth: Tensor, w_plus: Tensor, rng: torch.Generator) -> Tensor:
    """J^T y| of each image [N], with y ~ N(0, I) and J = dG / dw_plus [N, num_ws, w_dim]."""
    noise = torch.randn(synth.shape, generator=rng, device=synth.device)
    noise = noise.to(synth) / math.sqrt(synth.shape[2] * synth.shape[3])
    (slopes,) = torch.autograd.grad((synth * noise).sum(), w_plus, create_graph=True)
    return slopes.square().sum(2).mean(1).sqrt()


def path_length_penalty(lengths: Tensor, mean: Tensor, decay: float = 0.01) -> Tensor:
    """E (length - a)^2 (eq. 4), where a is the running `mean` (scalar, updated in place)."""
    mean.lerp_(lengths.detach().mean(), decay)
    return (lengths - mean).square().mean()
