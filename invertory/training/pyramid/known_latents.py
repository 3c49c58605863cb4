"""The distance of codes to the latents that generated the images; our addition to pSp's family.

After In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020,
https://arxiv.org/abs/2004.00049, eq. 1, as in `conventional_encoder`. It needs no synthesis and is
therefore much cheaper than an image loss.
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
    """The latents of a training set, and the weights of their rows."""

    w_plus: np.ndarray  # [N, num_ws, w_dim]
    row_weights: Tensor  # [num_ws], mean 1
    scale: Tensor  # [w_dim], standard deviation of the generator's w

    @classmethod
    def of(cls, generator: Generator, w_plus: np.ndarray | None, scale: Tensor) -> KnownLatents:
        """Weights are the effect of each row on the image; raises ValueError without latents."""
        if w_plus is None:
            raise ValueError(
                "expected pairs for a latent_weight, got images without known latents: "
                "train on pairs, or leave it out"
            )
        few = torch.from_numpy(np.array(w_plus[:NUM_PROBED])).float().to(scale.device)
        return cls(w_plus, row_weights(generator, few), scale)

    def error(self, codes: Tensor, rows: Tensor) -> Tensor:
        """Codes [N, num_ws, w_dim] of images `rows` [N] => mean square, in standard deviations."""
        target = torch.from_numpy(np.array(self.w_plus[rows.cpu().numpy()]))
        squares = ((codes - target.float().to(codes.device)) / self.scale).square()
        return (squares.mean((0, 2)) * self.row_weights).mean()
