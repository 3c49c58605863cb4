"""Adam with a separate state for each row.

Adam: A Method for Stochastic Optimization, Kingma and Ba 2015, https://arxiv.org/abs/1412.6980.
`torch.optim.Adam` has one step count for a whole tensor. Here every row has its own step count,
learning rate and moments, so a row that enters a batch late moves exactly as it would alone. For a
single row the update equals torch's Adam.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAdam:
    """Adam's constants. The caller holds the moments and passes them in."""

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
        """Take one step for every row => new variable [N, ...] and new moments m, v, each [N, ...].

        `step` [N] counts a row's steps from 0; `rate` [N] is its learning rate.
        """
        m = torch.lerp(moments[0], gradient, 1 - self.beta1)
        v = torch.addcmul(moments[1] * self.beta2, gradient, gradient, value=1 - self.beta2)
        t = step.double() + 1
        # Algorithm 1: m_hat = m / (1 - beta1^t), v_hat = v / (1 - beta2^t), theta -= rate * m_hat /
        # (sqrt(v_hat) + epsilon)
        size = per_row((rate.double() / (1 - self.beta1**t)).to(variable.dtype), variable)
        spread = per_row((1 - self.beta2**t).sqrt().to(variable.dtype), variable)
        moved = variable - size * (m / (v.sqrt() / spread + self.epsilon))
        return moved, (m, v)


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """Reshape values [N] => [N, 1, ...] so that they broadcast over the rows of `like`."""
    return values.view(-1, *[1] * (like.dim() - 1))
