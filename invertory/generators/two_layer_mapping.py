"""The two-layer mapping network M, z to w, for generators without a mapping of their own.

InvGAN: Invertable GANs, Ghosh et al., section 3.1: two layers for DCGAN and BigGAN.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

CENTRE = 8.0  # in standard deviations; see `follow`


class TwoLayerMapping(nn.Module):
    """z [N, z_dim] => w [N, w_dim]."""

    w_avg: Tensor

    def __init__(self, z_dim: int, w_dim: int) -> None:
        super().__init__()
        self.fc0 = nn.Linear(z_dim, z_dim)
        self.fc1 = nn.Linear(z_dim, w_dim)
        self.register_buffer("w_avg", torch.zeros(w_dim))

    def forward(self, z: Tensor) -> Tensor:
        out: Tensor = self.fc1(leaky_relu(self.fc0(z), 0.2))
        return out

    @torch.no_grad()
    def follow(self, mean: Tensor, root: Tensor) -> None:
        """Set the weights so that w is Gaussian with mean [w_dim] and covariance root root^T.

        A leaky ReLU is linear for positive inputs, which CENTRE ensures.
        """
        self.fc0.weight.copy_(torch.eye(len(self.fc0.weight)))
        self.fc0.bias.fill_(CENTRE)
        self.fc1.weight.copy_(root)
        self.fc1.bias.copy_(mean - CENTRE * root.sum(1))
        self.w_avg.copy_(mean)
