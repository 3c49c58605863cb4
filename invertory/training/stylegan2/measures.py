"""Measures and sheets of a generator's training, on held-out images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from invertory.encoders import Encoder
from invertory.generators.dcgan import SingleWGenerator
from invertory.generators.stylegan2 import StyleGAN2
from invertory.metrics.frechet import Moments, frechet_distance
from invertory.metrics.pixel import psnr_db
from invertory.networks.classifier import AttributeClassifier
from invertory.training.compute import Compute, TrainingImages

BATCH = 50
COLUMNS = 12  # columns of a sheet


class GeneratorMeasures:
    """Measures on `held_out`; draws use the same z each time."""

    def __init__(
        self, held_out: TrainingImages, compute: Compute, classifier: AttributeClassifier | None
    ) -> None:
        self._held_out, self._compute = held_out, compute
        self._classifier = None if classifier is None else compute.place(classifier.eval())
        self._real: Moments | None = None

    @torch.no_grad()
    def metrics(
        self, generator: StyleGAN2 | SingleWGenerator, encoder: Encoder | None
    ) -> dict[str, float]:
        """`psnr_db` and `mae` (on [-1, 1]) of reconstructions; `frechet` of random draws.

        `frechet` is the Fréchet distance between the held-out images and as many draws.
        """
        metrics = {}
        if encoder is not None:
            pairs = [(x, self._reconstruct(generator, encoder, x)) for x in self._reals(200)]
            metrics["psnr_db"] = float(torch.cat([psnr_db(x, y) for x, y in pairs]).mean())
            metrics["mae"] = float(
                torch.cat([(x - y).abs().mean((1, 2, 3)) for x, y in pairs]).mean()
            )
        if self._classifier is not None:
            num = len(self._held_out)
            self._real = self._real or Moments.of(map(self._embed, self._reals(num)))
            draws = Moments.of(map(self._embed, self._draws(generator, num)))
            metrics["frechet"] = frechet_distance(self._real, draws)
        return metrics

    @torch.no_grad()
    def sheet(self, generator: StyleGAN2 | SingleWGenerator, encoder: Encoder | None) -> Tensor:
        """[3, H, W]: a row of real images, a row of reconstructions, and three rows of draws."""
        real = next(self._reals(COLUMNS))
        rows = [real]
        if encoder is not None:
            rows.append(self._reconstruct(generator, encoder, real))
        draws = torch.cat(list(self._draws(generator, 3 * COLUMNS)))
        rows += list(draws.chunk(3))
        strips = [torch.cat(list(row.float().cpu()), 2) for row in rows if len(row)]
        width = max(strip.shape[2] for strip in strips)
        strips = [torch.nn.functional.pad(strip, (0, width - strip.shape[2])) for strip in strips]
        return torch.cat(strips, 1).clamp(-1, 1)

    def _reals(self, num: int) -> Iterator[Tensor]:
        for first in range(0, min(num, len(self._held_out)), BATCH):
            yield self._held_out[slice(first, min(first + BATCH, num))]

    def _draws(self, generator: StyleGAN2 | SingleWGenerator, num: int) -> Iterator[Tensor]:
        for first in range(0, num, BATCH):
            rng = self._compute.rng(0, first, 7)
            shape = (min(BATCH, num - first), generator.z_dim)
            z = torch.randn(shape, generator=rng, device=self._compute.device)
            yield self._image(generator, generator.mapping(z))

    def _reconstruct(
        self, generator: StyleGAN2 | SingleWGenerator, encoder: Encoder, x: Tensor
    ) -> Tensor:
        with self._compute.autocast():
            w = encoder(x)[:, 0]
        return self._image(generator, w)

    def _image(self, generator: StyleGAN2 | SingleWGenerator, w: Tensor) -> Tensor:
        with self._compute.autocast():
            w_plus = w[:, None].expand(-1, generator.num_ws, -1)
            return generator.synthesis(w_plus).float().clamp(-1, 1)

    def _embed(self, x: Tensor) -> Tensor:
        assert self._classifier is not None
        with self._compute.autocast():
            return self._classifier.embedding(x)
