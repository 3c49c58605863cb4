"""Generators: latents to images. `GENERATORS` lists every family that a recipe can name.

Adding one takes its file, a line in `GENERATORS` and `make catalogue`. Default weights, or a way of
loading other than by a card, take an entry in `invertory.pipelines.networks.generators.SOURCES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from invertory.generators.biggan import BigGAN
from invertory.generators.dcgan import DCGAN
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Generator(Protocol):
    """What inversion, editing and sampling need from a generator (a frozen `nn.Module` in eval).

    Noise is constant, so a latent has one image, and no output depends on its batch.
    """

    z_dim: int
    w_dim: int
    num_ws: int
    resolution: int  # px of `synthesis`
    preview_resolution: int  # px of `preview`; equals `resolution` if there is no cheaper head
    w_avg: Tensor  # [w_dim]

    def mapping(self, z: Tensor) -> Tensor:
        """z [N, z_dim] => w [N, w_dim]."""
        ...

    def synthesis(self, w_plus: Tensor) -> Tensor:
        """w_plus [N, num_ws, w_dim] => images [N, 3, resolution, resolution], about [-1, 1]."""
        ...

    def preview(self, w_plus: Tensor, min_px: int | None = None) -> Tensor:
        """w_plus [N, num_ws, w_dim] => [N, 3, preview_resolution, ...]: cheap, differentiable.

        With `min_px`, a generator with several previews may draw the smallest one of at least that
        many pixels a side.
        """
        ...

    def features(self, w_plus: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Feature maps of the named layers (see `feature_names`), each [N, C, H, W]."""
        ...


GENERATORS = {
    "biggan": BigGAN,
    "dcgan": DCGAN,
    "mobile_stylegan": MobileStyleGAN,
    "stylegan2": StyleGAN2,
    "toy": ToyGenerator,
}
