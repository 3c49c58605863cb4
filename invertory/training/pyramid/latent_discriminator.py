"""e4e's discriminator of latents: an MLP that separates the generator's w from an encoder's.

Designing an Encoder for StyleGAN Image Manipulation, Tov et al. 2021,
https://arxiv.org/abs/2102.02766. Four layers, and a pool of earlier codes (after Shrivastava et al.
2017, https://arxiv.org/abs/1612.07828), as in the code. Ours sees w in standard deviations from the
mean, so that the penalty has the same scale for every generator.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from invertory.encoders.pyramid_layers import EqualLinear

SLOPE = 0.2


class LatentDiscriminator(nn.Module):
    """w [N, w_dim] => logits [N]."""

    w_mean: Tensor
    w_scale: Tensor

    def __init__(self, w_mean: Tensor, w_scale: Tensor, *, num_layers: int = 4) -> None:
        super().__init__()
        w_dim = len(w_mean)
        widths = [w_dim] * (num_layers - 1)
        self.layers = nn.ModuleList(EqualLinear(width, w_dim) for width in widths)
        self.told = EqualLinear(w_dim, 1)
        for layer in (*self.layers, self.told):
            nn.init.normal_(layer.weight)
        self.register_buffer("w_mean", w_mean.clone())
        self.register_buffer("w_scale", w_scale.clone())

    def forward(self, w: Tensor) -> Tensor:
        x = self.standard(w)
        return self.score_standardised(x)

    def standard(self, w: Tensor) -> Tensor:
        """w in standard deviations from the mean."""
        return (w - self.w_mean) / self.w_scale

    def score_standardised(self, x: Tensor) -> Tensor:
        """Standardised w [N, w_dim] => logits [N]."""
        for layer in self.layers:
            x = leaky_relu(layer(x), SLOPE)
        logits: Tensor = self.told(x)[:, 0]
        return logits

    def r1_penalty(self, w: Tensor) -> Tensor:
        """E |dD/dw|^2 at w [N, w_dim], in standard deviations (Mescheder et al. 2018, eq. 9)."""
        x = self.standard(w).detach().requires_grad_()
        (slopes,) = torch.autograd.grad(self.score_standardised(x).sum(), x, create_graph=True)
        return slopes.square().sum(1).mean()


class CodePool:
    """A pool of `size` recent codes: half of the returned codes come from earlier steps."""

    def __init__(self, size: int, w_dim: int, device: str) -> None:
        self._codes = torch.zeros(size, w_dim, device=device)
        self._num = 0

    def exchange(self, codes: Tensor, rng: torch.Generator) -> Tensor:
        """codes [N, w_dim] => [N, w_dim]: each code, or with probability 1/2 one from the pool.

        The pool keeps the new code in place of the returned one. Until the pool is full, codes are
        added to it and returned.
        """
        out = codes.clone()
        draws = torch.rand(len(codes), 2, generator=rng, device=codes.device).tolist()
        for i, (coin, place) in enumerate(draws):
            if self._num < len(self._codes):
                self._codes[self._num] = codes[i]
                self._num += 1
            elif coin < 0.5:
                slot = int(place * len(self._codes))
                out[i] = self._codes[slot].clone()
                self._codes[slot] = codes[i]
        return out

    def state_dict(self) -> dict[str, Any]:
        return {"codes": self._codes, "num": self._num}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._codes.copy_(state["codes"])
        self._num = state["num"]
