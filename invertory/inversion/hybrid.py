"""Hybrid inversion: an encoder gives the start, then W+ is optimised.

Generative Visual Manipulation on the Natural Image Manifold, Zhu, Kraehenbuehl, Shechtman and Efros
2016, https://arxiv.org/abs/1609.03552, section 3.2, adapted to StyleGAN as in later work: any
encoder for the generator, then Image2StyleGAN's losses. In-Domain inversion also keeps the encoder
in its loss; this method does not. The best iterate is the result, so it is never worse than the
start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from invertory.inversion.feed_forward import encode_w_plus, encoder_of
from invertory.inversion.image2stylegan import EmbeddingObjective
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import LossWeights, Schedule

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid(LossWeights):
    """Encode, then optimise W+. The method is deterministic: seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    terms: ClassVar[tuple[str, ...]] = ("mse", "perceptual")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    needs: ClassVar[tuple[str, ...]] = ("encoder",)

    encoder: str = field(
        default="auto",
        metadata={"description": "address of the encoder; auto: the one for this generator"},
    )
    steps: int = field(default=100, metadata={"description": "Adam steps after the encoder"})
    schedule: Schedule = field(
        default="ramp", metadata={"description": "constant, or the projector's ramp up and down"}
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
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`."""
        encoder = encoder_of(networks, generator)
        view = self.view(generator, perceptual, targets)

        def begin(images: Tensor) -> Tensor:
            return encode_w_plus(encoder, images, generator)

        outcome = self.engine().run(
            EmbeddingObjective(self, view, begin), targets, seeds=seeds, batch_size=batch_size
        )
        return outcome.inversion(self.space, outcome.results["w_plus"])
