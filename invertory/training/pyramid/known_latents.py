"""The distance of codes to the latents that made their images: ours, for pSp's family.

After In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020,
https://arxiv.org/abs/2004.00049, eq. 1, as in `conventional_encoder`. It needs no generator, hence
costs a small part of what an image costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from invertory.training.idinvert.conventional_encoder import row_weights

if TYPE_CHECKING:
    from invertory.generators import Generator

NUM_PROBED = 64  # latents


@dataclass(frozen=True, slots=True)
class KnownLatents:
    """Latents of a training set, and what their rows weigh."""

    w_plus: np.ndarray  # [N, num_ws, w_dim]
    row_weights: Tensor  # [num_ws], mean 1
    scale: Tensor  # [w_dim], deviation of the generator's w

    @classmethod
    def of(cls, generator: Generator, w_plus: np.ndarray | None, scale: Tensor) -> KnownLatents:
        """Rows weigh what they change in an image."""
        if w_plus is None:
            raise ValueError(
                "expected pairs for a latent_weight, got images whose latents nobody knows: "
                "train on pairs, or leave it out"
            )
        few = torch.from_numpy(np.array(w_plus[:NUM_PROBED])).float().to(scale.device)
        return cls(w_plus, row_weights(generator, few), scale)

    def error(self, codes: Tensor, rows: Tensor) -> Tensor:
        """Codes [N, num_ws, w_dim] of the images `rows` [N] => mean square in deviations."""
        target = torch.from_numpy(np.array(self.w_plus[rows.cpu().numpy()]))
        squares = ((codes - target.float().to(codes.device)) / self.scale).square()
        return (squares.mean((0, 2)) * self.row_weights).mean()
