"""Trains an encoder on pairs of a generator: In-Domain's conventional encoder with an extra term.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049,
eq. 1: |z - E(G(z))|^2. We weight the rows of W+ by their effect on the image, in units of the
latents' standard deviation, and, if `image_weight` is set, compare a few images of each batch with
their reconstructions late in the run (as eq. 2 does, on generated images). Works with any generator
and needs no photographs.

    pairs = prepare_pairs(generator, folder, 8000, size_px=128)
    train(ConventionalEncoderTraining(generator, pairs, config, perceptual), out, images=60_000)
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from invertory.encoders.residual import ResidualEncoder
from invertory.training.compute import Compute, TrainingImages, batch_rows
from invertory.training.optimiser import AveragedNetwork, seeded
from invertory.training.reconstruction import mean_psnr_db, reconstruct, render, sheet_of, shrink

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.perceptual import Perceptual
    from invertory.training.idinvert.pairs import Pairs

NUM_SHOWN = 8  # images of a sheet


@dataclass(frozen=True, slots=True, kw_only=True)
class ConventionalEncoderConfig:
    """Settings of a run; the learning rate decays to 0 over `images`."""

    images: int = 60_000
    batch_size: int = 32
    learning_rate: float = 2e-3
    warm_up: float = 0.02
    weight_decay: float = 1e-4
    half_life_images: float = 2_000
    channels: tuple[int, ...] = ()  # empty: the encoder's defaults
    narrow: int = 32
    hidden: int = 256
    grain: float = (
        0.05  # largest standard deviation of input noise, against overfitting to artefacts
    )
    image_weight: float = 0.0  # weight of the image terms
    perceptual_weight: float = 0.5
    image_from: float = 0.4  # share of the run after which image terms are active
    image_pictures: int = 4  # images of each batch
    image_px: int = 64
    held_out: int = 256  # the last pairs
    seed: int = 0


@dataclass
class ConventionalEncoderTraining:
    """`Training` of a `ResidualEncoder` on pairs of `generator`, which is frozen.

    Raises ValueError if there are too few pairs.
    """

    generator: Generator
    pairs: Pairs
    config: ConventionalEncoderConfig = field(default_factory=ConventionalEncoderConfig)
    perceptual: Perceptual | None = None  # of the image terms
    compute: Compute = field(default_factory=Compute)
    name: str = "conventional_encoder"

    def __post_init__(self) -> None:
        config, device = self.config, self.compute.device
        self._num = len(self.pairs) - config.held_out
        if self._num < config.batch_size:
            raise ValueError(
                f"expected at least {config.held_out + config.batch_size} pairs (a batch beside "
                f"{config.held_out} held out), got {len(self.pairs)}: draw more"
            )
        self._images = TrainingImages(self.pairs.images, self.compute)
        self._w_plus = torch.from_numpy(np.array(self.pairs.w_plus)).to(device)
        self._encoder = AveragedNetwork(self._build_network(), config, self.compute)
        self._row_weights = row_weights(self.generator, self._w_plus[:64].float())

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def step(self, step: int) -> dict[str, Tensor]:
        """Train on one batch of pairs; image terms use its first images."""
        config = self.config
        rows = batch_rows(self._num, self.batch_size, seed=config.seed, step=step)
        images = self._images[rows]
        with self.compute.autocast():
            codes = self._encoder.network(self._grained(images, step))
        losses = {"latent": self._error(codes, self._target(rows))}
        total = losses["latent"]
        if config.image_weight and step * self.batch_size >= config.image_from * config.images:
            few = slice(config.image_pictures)
            losses |= self._image_losses(codes[few], images[few])
            total = total + config.image_weight * losses["image"]
        self._encoder.descend(total, step)
        return {name: loss.detach() for name, loss in losses.items()}

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """On held-out pairs: unexplained share of the latents' variance, and PSNR of images."""
        encoder = self._encoder.average
        rows = torch.arange(self._num, len(self.pairs))
        parts = []
        for part in torch.split(rows, self.batch_size):
            with self.compute.autocast():
                parts.append(encoder(self._images[part]))
        codes, target = torch.cat(parts), self._target(rows)
        unexplained = ((codes - target) / encoder.w_scale).square().mean()
        real = self._images[rows[:64]]
        synth = reconstruct(self.generator, encoder, real, self.config.image_px, self.compute)
        return {
            "latent_error": float(unexplained),
            "latent_error_weighted": float(self._error(codes, target)),
            "psnr_db": mean_psnr_db(real, synth),
        }

    def sheet(self) -> Tensor:
        """Held-out images above, their reconstructions below."""
        rows = torch.arange(self._num, min(self._num + NUM_SHOWN, len(self.pairs)))
        real = self._images[rows]
        encoder, px = self._encoder.average, self.config.image_px
        return sheet_of(real, reconstruct(self.generator, encoder, real, px, self.compute))

    def state_dict(self) -> dict[str, Any]:
        return self._encoder.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._encoder.load_state_dict(state)

    def networks(self) -> dict[str, nn.Module]:
        return {"encoder": self._encoder.average}

    def _build_network(self) -> ResidualEncoder:
        config = self.config
        encoder = seeded(
            lambda: ResidualEncoder(
                resolution=self._images.size_px,
                num_ws=self.generator.num_ws,
                w_dim=self.generator.w_dim,
                channels=config.channels,
                narrow=config.narrow,
                hidden=config.hidden,
            ),
            config.seed,
        )
        encoder.set_statistics(self._w_plus[: self._num].cpu())
        return encoder

    def _target(self, rows: Tensor) -> Tensor:
        return self._w_plus[rows.to(self._w_plus.device)].float()

    def _error(self, codes: Tensor, target: Tensor) -> Tensor:
        """Eq. 1 in standard deviations, with rows weighted by their effect."""
        squares = ((codes - target) / self._encoder.network.w_scale).square()
        return (squares.mean((0, 2)) * self._row_weights).mean()

    def _grained(self, images: Tensor, step: int) -> Tensor:
        rng = self.compute.rng(self.config.seed, step)
        shape, device = (len(images), 1, 1, 1), images.device
        size = torch.rand(shape, generator=rng, device=device) * self.config.grain
        return images + size * torch.randn(images.shape, generator=rng, device=device)

    def _image_losses(self, codes: Tensor, images: Tensor) -> dict[str, Tensor]:
        """Mean squared error, optionally with the perceptual distance; means over images."""
        real = shrink(images, self.config.image_px)
        synth = render(self.generator, codes, self.config.image_px)
        squares = (synth.float() - real).square().mean()
        if self.perceptual is None:
            return {"image": squares, "mse": squares}
        features = self.perceptual.features
        distance = self.perceptual.distance(features(synth), features(real)).mean()
        total = squares + self.config.perceptual_weight * distance
        return {"image": total, "mse": squares, "perceptual": distance}


@torch.no_grad()
def row_weights(generator: Generator, w_plus: Tensor, size_px: int = 64) -> Tensor:
    """The effect of each row of W+ on the image => weights [num_ws], mean 1, each at least 0.1.

    The effect of row i is the root mean square change of the image if row i of each latent is
    replaced by that of the next. w_plus [N, num_ws, w_dim].
    """
    few = w_plus[:8]
    whole = render(generator, few, size_px)
    changes = []
    for i in range(generator.num_ws):
        exchanged = few.clone()
        exchanged[:, i] = few.roll(1, 0)[:, i]
        difference = render(generator, exchanged, size_px) - whole
        changes.append(difference.float().square().mean().sqrt())
    root_mean_squares = torch.stack(changes)
    return normalise_weights(root_mean_squares)


def normalise_weights(changes: Tensor) -> Tensor:
    """Changes [num_ws] => weights of mean 1, each at least a tenth of the mean."""
    weights = changes / changes.mean().clamp_min(1e-12)
    weights = weights.clamp_min(0.1)
    return weights / weights.mean()
