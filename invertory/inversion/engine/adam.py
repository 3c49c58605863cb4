"""Adam for rows that began at different times.

Adam: A Method for Stochastic Optimization, Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
`torch.optim.Adam` has one step count for a whole tensor; here every row has its own count, rate and
moments, so that a row which enters a batch late moves as it would alone. One row is torch's Adam.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAdam:
    """Adam's constants; the moments belong to the rows and are passed in."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def update(
        self,
        variable: Tensor,
        gradient: Tensor,
        moments: tuple[Tensor, Tensor],
        *,
        step: Tensor,
        rate: Tensor,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """One step of every row => new variable [N, ...] and new moments m, v, each [N, ...].

        `step` [N] counts a row's steps from 0; `rate` [N] is its learning rate.
        """
        m = torch.lerp(moments[0], gradient, 1 - self.beta1)
        v = torch.addcmul(moments[1] * self.beta2, gradient, gradient, value=1 - self.beta2)
        t = step.double() + 1
        # Algorithm 1: m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t)
        size = per_row((rate.double() / (1 - self.beta1**t)).to(variable.dtype), variable)
        spread = per_row((1 - self.beta2**t).sqrt().to(variable.dtype), variable)
        moved = variable - size * (m / (v.sqrt() / spread + self.epsilon))
        return moved, (m, v)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """values [N] => [N, 1, ...], to broadcast over the rows of `like`."""
    return values.view(-1, *[1] * (like.dim() - 1))
