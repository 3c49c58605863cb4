"""InvGAN: one pass of the latent head of the discriminator that the generator trained against.

InvGAN: Invertable GANs, Ghosh, Zietlow, Black, Davis and Hu 2021, https://arxiv.org/abs/2112.04598,
section 3.1. Generator and encoder come from one training (`invertory/training/invgan/trainer.py`);
the latent is one w, in the space that the mapping network draws from. Optimisation can start from
it (`gaussian_prior`, `projector`), which the paper does not do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

from invertory.inversion.feed_forward import SinglePassMethod, encoder_of
from invertory.inversion.method import NO_NETWORKS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True, kw_only=True)
class InvGAN(SinglePassMethod):
    """Compute W in one pass of the discriminator."""

    space: ClassVar[Space] = "w"
    needs: ClassVar[tuple[str, ...]] = ("invgan",)

    invgan: str = field(
        default="auto",
        metadata={"description": "address of the encoder; auto: the one for this generator"},
    )

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, 1, w_dim]; see `Method`."""
        encoder = encoder_of(networks, generator, "invgan")
        if encoder.num_ws != 1:
            raise ValueError(
                f"expected an encoder into W with one row, got one with {encoder.num_ws} rows: "
                "name the encoder that InvGAN trained with this generator"
            )
        inversion = SinglePassMethod.invert(
            self,
            generator,
            targets,
            seeds=seeds,
            perceptual=perceptual,
            batch_size=batch_size,
            networks=networks,
        )
        return replace(inversion, latents=inversion.latents[:, :1])
