"""Convolutions and linear layers divided by their largest singular value.

Miyato et al., "Spectral Normalization for Generative Adversarial Networks", 2018,
https://arxiv.org/abs/1802.05957, algorithm 1: one power iteration per forward pass in training. In
eval nothing is stored, so no output depends on previous calls.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear, normalize


class SpectralConv(nn.Module):
    """k x k convolution that keeps the size; a linear layer if `size` is 0."""

    u: Tensor  # [outputs], current estimate of the left singular vector

    def __init__(self, inputs: int, outputs: int, size: int = 3) -> None:
        super().__init__()
        shape = (outputs, inputs, size, size) if size else (outputs, inputs)
        self.weight = nn.Parameter(torch.empty(shape))
        nn.init.orthogonal_(self.weight)  # BigGAN, section 4
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("u", normalize(torch.randn(outputs), dim=0))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / self._sigma()
        if weight.ndim == 2:
            return linear(x, weight, self.bias)
        return conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)

    def _sigma(self) -> Tensor:
        """The largest singular value; its vectors are constants for the gradient."""
        rows = self.weight.flatten(1)
        with torch.no_grad():
            # v = W^T u / |W^T u|, u = W v / |W v|, sigma = u^T W v
            v = normalize((rows * self.u[:, None]).sum(0), dim=0)
            u = normalize((rows * v).sum(1), dim=0)
            if self.training:
                self.u.copy_(u)
        return (u * (rows * v).sum(1)).sum()
