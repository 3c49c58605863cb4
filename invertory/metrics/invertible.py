"""Quality of a generator and of its encoder's inversions: the columns of InvGAN's Table 1.

InvGAN: Invertable GANs, Ghosh et al., section 4, Table 1: Fréchet distances to the training set of
random draws (RandFID), their reconstructions (RandRecFID), reconstructed test images (TsRecFID) and
midpoints between pairs of these (IntTsFID); and the mean absolute error of test reconstructions on
[-1, 1] (MAE). Images are rounded to 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invertory.images import to_tensor, to_uint8
from invertory.metrics.frechet import frechet_distance
from invertory.metrics.quality import Embedding, embed_set

if TYPE_CHECKING:
    from invertory.encoders import Encoder
    from invertory.generators import Generator
    from invertory.metrics.frechet import Moments

SETS = ("random", "random_reconstructed", "test_reconstructed", "test_interpolated")
Batches = Sequence[Tensor]  # images [N, 3, R, R] in [-1, 1], 8-bit levels


@dataclass(frozen=True, slots=True)
class InvertibleGAN:
    """A generator and an encoder into its latents; both frozen, in eval mode, on one device."""

    generator: Generator
    encoder: Encoder

    @torch.no_grad()
    def latents(self, x: Tensor) -> Tensor:
        """Images [N, 3, R, R] => w_plus [N, num_ws, w_dim]."""
        return self.encoder(x.to(self.generator.w_avg)).expand(-1, self.generator.num_ws, -1)

    @torch.no_grad()
    def synthesise(self, w_plus: Tensor) -> Tensor:
        """w_plus [N, num_ws, w_dim] => images with 8-bit levels, on the CPU."""
        return to_tensor(list(to_uint8(self.generator.synthesis(w_plus).clamp(-1, 1))))

    def draws(self, num: int, *, seed: int, batch: int) -> Iterator[Tensor]:
        """Latents of random z; latent i is a function of the seed and i only."""
        G = self.generator
        for start in range(0, num, batch):
            rows = range(start, min(start + batch, num))
            rngs = [torch.Generator().manual_seed(seed * 1_000_003 + row) for row in rows]
            z = torch.stack([torch.randn(G.z_dim, generator=rng) for rng in rngs])
            with torch.no_grad():
                yield G.mapping(z.to(G.w_avg))[:, None].expand(-1, G.num_ws, -1)


def synthesise_sets(
    pair: InvertibleGAN, test: Batches, *, seed: int = 0
) -> dict[str, list[Tensor]]:
    """Each of `SETS` in batches, with as many images as `test`."""
    batch, num = len(test[0]), sum(map(len, test))
    random = [pair.synthesise(w) for w in pair.draws(num, seed=seed, batch=batch)]
    latents = torch.cat([pair.latents(x) for x in test])
    middles = (latents + latents.roll(1, 0)) / 2
    return {
        "random": random,
        "random_reconstructed": [pair.synthesise(pair.latents(x)) for x in random],
        "test_reconstructed": [pair.synthesise(w) for w in torch.split(latents, batch)],
        "test_interpolated": [pair.synthesise(w) for w in torch.split(middles, batch)],
    }


def frechet_to(
    train: Moments, sets: Mapping[str, Batches], embedding: Embedding
) -> dict[str, float]:
    """The distance of each set to `train`, in one embedding."""
    return {
        name: frechet_distance(train, embed_set(batches, embedding).moments)
        for name, batches in sets.items()
    }


def absolute_error(synth: Batches, target: Batches) -> float:
    """Mean absolute error over images, pixels and channels, on [-1, 1]."""
    pairs = zip(synth, target, strict=True)
    errors = torch.cat([(a - b).abs().mean((1, 2, 3)) for a, b in pairs])
    return float(errors.mean())


def seconds_per_image(
    encode: Callable[[Tensor], Tensor], x: Tensor, clock: Callable[[], float]
) -> float:
    """The fastest of three passes over x [N, 3, R, R], after one warm-up pass."""
    encode(x)
    seconds = []
    for _ in range(3):
        start = clock()
        encode(x)
        seconds.append(clock() - start)
    return min(seconds) / len(x)
