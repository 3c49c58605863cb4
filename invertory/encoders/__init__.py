"""Encoders: images to latents in one pass. `ENCODERS` lists every family."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from invertory.encoders.idinvert import IdinvertEncoder
from invertory.encoders.invgan import InvGANEncoder
from invertory.encoders.pyramid import PyramidEncoder
from invertory.encoders.residual import ResidualEncoder

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Encoder(Protocol):
    """What inversion needs from an encoder (an `nn.Module`, frozen and in eval once loaded).

    In eval no output depends on its batch, and gradients reach the images.
    """

    resolution: int  # px of its input; other sizes are resized to it
    num_ws: int  # rows of its latent; 1: one w for every row
    w_dim: int

    def __call__(self, x: Tensor) -> Tensor:
        """x [N, 3, H, H] in [-1, 1] => w_plus [N, num_ws, w_dim], float32."""
        ...


ENCODERS = {
    "residual_encoder": ResidualEncoder,
    "idinvert_encoder": IdinvertEncoder,
    "invgan_encoder": InvGANEncoder,
    "pyramid_encoder": PyramidEncoder,
}
