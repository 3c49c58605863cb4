"""Trains encoders of the pSp family to reconstruct images through a frozen generator.

pSp: Encoding in Style, Richardson et al. 2021, https://arxiv.org/abs/2008.00951. The additions of
e4e and ReStyle are in `e4e` and `restyle`. As in the code, distances are means, the identity loss
is one minus the cosine of two embeddings (the paper uses ArcFace; here the classifier is a
parameter), and the w-norm is that of the whole offset from the mean latent.

Three things are our own. The published optimiser, Ranger (RAdam and Lookahead), is not in torch: we
use AdamW with a warm-up, which replaces RAdam's rectification, and an average of the weights, which
replaces Lookahead. The heads predict in standard deviations of the generator's w. For training on
few cores, and off by default: image losses at `image_px`, on the first `image_pictures` of a batch
only; for the other pairs, the distance to their known latents (`latent_weight`, see
`known_latents`); and augmentation that mimics photographs (`alter`, `grain`, see `photographic`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from invertory.encoders.pyramid import Heads, PyramidEncoder, Taps
from invertory.training.compute import Compute, TrainingImages, batch_rows
from invertory.training.optimiser import AveragedNetwork, seeded
from invertory.training.pyramid.config import PyramidEncoderConfig
from invertory.training.pyramid.known_latents import KnownLatents
from invertory.training.pyramid.likeness import PART, compare_images, identity_cosine
from invertory.training.pyramid.photographic import altered, grained
from invertory.training.reconstruction import render, sheet_of, shrink

if TYPE_CHECKING:
    import numpy as np

    from invertory.generators import Generator
    from invertory.images import Pixels
    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual

NUM_SHOWN = 8  # images of a sheet
_MIRROR, _STATISTICS, _ALTER, _GRAIN = 0, 1, 5, 6  # random streams


Config = TypeVar("Config", bound=PyramidEncoderConfig)


@dataclass(frozen=True, slots=True)
class TargetBatch:
    """A batch, and the targets of the losses for its first N images."""

    seen: Tensor  # [M, 3, H, H], inputs of the encoder
    images: Tensor  # [N, 3, image_px, image_px] in [-1, 1]
    features: list[Tensor]
    embedding: Tensor | None
    rows: Tensor  # [M] int64, rows of the training set


class PyramidEncoderTraining(Generic[Config]):
    """`Training` of a `PyramidEncoder` on images uint8 [N, H, H, 3].

    Images are at most as large as the generator's. `encoder` optionally provides initial weights of
    the backbone (see `PyramidEncoder.adopt`); `w_plus` [N, num_ws, w_dim] are the latents of the
    images, if known. Raises ValueError for unsuitable images.
    """

    name = "psp"
    taps: Taps = "pyramid"
    input_channels: Literal[3, 6] = 3

    def __init__(
        self,
        generator: Generator,
        perceptual: Perceptual,
        pixels: Pixels,
        config: Config,
        compute: Compute | None = None,
        *,
        classifier: AttributeClassifier | None = None,
        encoder: nn.Module | None = None,
        w_plus: np.ndarray | None = None,
    ) -> None:
        self.generator, self.perceptual, self.classifier = generator, perceptual, classifier
        self.config, self.compute = config, compute or Compute()
        if self.compute.precision == "bfloat16":
            # otherwise half the time of a step goes to layout changes
            for frozen in (generator, perceptual):
                self.compute.place(cast(nn.Module, frozen))
        _check(pixels, config, generator.resolution)
        self._num = len(pixels) - config.held_out
        self._real = TrainingImages(pixels, self.compute)
        self.w_mean, self.w_scale = self._statistics()
        network = seeded(self._build_network, config.seed)
        network.set_statistics(self.w_mean.cpu(), self.w_scale.cpu())
        if encoder is not None:
            network.adopt(encoder.state_dict())
        self._encoder = AveragedNetwork(network, config, self.compute)
        self._known = None
        if config.latent_weight:
            self._known = KnownLatents.of(generator, w_plus, self.w_scale)

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss; losses without a weight are not computed, except the first."""
        config = self.config
        return {
            "mse": config.mse_weight,
            "perceptual": config.perceptual_weight,
            "identity": config.identity_weight if self.classifier else 0.0,
            "w_norm": config.w_norm_weight,
            "latent": config.latent_weight,
        }

    def step(self, step: int) -> dict[str, Tensor]:
        """Train on one batch of images."""
        self._encoder.clear()
        losses = self._accumulate(self._target_batch(*self._batch(step)), step)
        self._encoder.advance(step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _accumulate(self, batch: TargetBatch, step: int) -> dict[str, Tensor]:
        """Compute the losses of a batch and accumulate the encoder's gradients."""
        with self.compute.autocast():
            codes = self._encoder.network(batch.seen)
        losses, _ = self._losses(codes, batch)
        torch.autograd.backward(self._total(losses))
        return losses

    def _losses(self, codes: Tensor, batch: TargetBatch) -> tuple[dict[str, Tensor], Tensor]:
        """Codes [N, num_ws, w_dim] => losses that have a weight, and the synthesised images."""
        weights, num = self.weights, len(batch.images)
        with self.compute.autocast():
            synth = render(self.generator, codes[:num], batch.images.shape[-1])
            losses = {"mse": (synth.float() - batch.images).square().mean()}
            if weights["perceptual"]:
                features = self.perceptual.features(synth)
                losses["perceptual"] = self.perceptual.distance(features, batch.features).mean()
            if batch.embedding is not None:
                assert self.classifier is not None
                losses["identity"] = (
                    1 - identity_cosine(self.classifier, synth, batch.embedding).mean()
                )
        if weights["w_norm"]:
            losses["w_norm"] = (codes - self.w_mean).flatten(1).norm(dim=1).mean()
        if self._known is not None:
            others = slice(num if num < len(codes) else 0, None)
            losses["latent"] = self._known.error(codes[others], batch.rows[others])
        return losses, synth

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        weights = self.weights
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    @torch.no_grad()
    def _target_batch(self, seen: Tensor, real: Tensor, rows: Tensor) -> TargetBatch:
        weights = self.weights
        with self.compute.autocast():
            features = self.perceptual.features(real) if weights["perceptual"] else []
            judge = self.classifier if weights["identity"] > 0 else None
            embedding = judge.embedding(real).float() if judge is not None else None
        return TargetBatch(seen, real, features, embedding, rows)

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """The encoder's inputs, the images to reconstruct (the first ones), and the rows."""
        config = self.config
        rows = batch_rows(self._num, self.batch_size, seed=config.seed, step=step)
        seen = self._real[rows]
        few = slice(config.image_pictures or len(seen))
        if config.mirror:
            rng = self.compute.rng(config.seed, step, _MIRROR)
            is_turned = torch.rand(len(seen), 1, 1, 1, generator=rng, device=seen.device) < 0.5
            seen = torch.where(is_turned, seen.flip(3), seen)
        if config.alter:
            rng = self.compute.rng(config.seed, step, _ALTER)
            seen = torch.cat([altered(seen[few], config.alter, rng), seen[few.stop :]])
        real = shrink(seen[few], self._image_px)
        if config.grain:
            seen = grained(seen, config.grain, self.compute.rng(config.seed, step, _GRAIN))
        return seen, real, rows

    @property
    def _image_px(self) -> int:
        """The size at which images are compared."""
        return self.config.image_px or self._real.size_px

    def invert(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, H] => codes of the average encoder [N, num_ws, w_dim]."""
        with self.compute.autocast():
            codes: Tensor = self._encoder.average(images)
        return codes

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Mean measures of held-out images and their reconstructions."""
        real = self._real[self._held_out()]
        codes = torch.cat([self.invert(part) for part in torch.split(real, PART)])
        pairs = shrink(real, self._image_px), self._synthesise(codes)
        metrics = compare_images(*pairs, self.perceptual, self.classifier)
        metrics |= self._code_metrics(codes)
        if self._known is not None:
            metrics["latent_error"] = float(self._known.error(codes, self._held_out()))
        return metrics

    def _code_metrics(self, codes: Tensor) -> dict[str, float]:
        """Metrics of the codes [N, num_ws, w_dim]."""
        return {}

    @torch.no_grad()
    def _synthesise(self, codes: Tensor) -> Tensor:
        """Codes => images of the compared size, in [-1, 1]."""
        synths = []
        for part in torch.split(codes, PART):
            with self.compute.autocast():
                synths.append(render(self.generator, part, self._image_px).float())
        return torch.cat(synths).clamp(-1, 1)

    def _held_out(self) -> Tensor:
        return torch.arange(self._num, len(self._real))

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Held-out images above, their reconstructions below."""
        images = self._real[self._held_out()[:NUM_SHOWN]]
        return sheet_of(images, self._synthesise(self.invert(images)))

    @property
    def heads(self) -> Heads:
        return "psp"

    def state_dict(self) -> dict[str, Any]:
        return self._encoder.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._encoder.load_state_dict(state)

    def networks(self) -> dict[str, nn.Module]:
        return {self.name: self._encoder.average}

    def _build_network(self) -> PyramidEncoder:
        config = self.config
        return PyramidEncoder(
            resolution=config.resolution or max(self._real.size_px, 16),
            num_ws=self.generator.num_ws,
            w_dim=self.generator.w_dim,
            backbone=config.backbone,
            heads=self.heads,
            taps=self.taps,
            input_channels=self.input_channels,
            widths=config.widths,
            style_width=config.style_width,
            pyramid_width=config.pyramid_width,
            num_styles=config.num_styles,
        )

    @torch.no_grad()
    def _statistics(self) -> tuple[Tensor, Tensor]:
        """The generator's mean w and the standard deviation of w, [w_dim] each."""
        w = self._draw_w(self.config.w_samples, 0, _STATISTICS)
        return self.generator.w_avg.float(), w.std(0)

    @torch.no_grad()
    def _draw_w(self, num: int, step: int, stream: int) -> Tensor:
        """w of new z, [num, w_dim], a function of the seed, the step and the stream."""
        rng = self.compute.rng(self.config.seed, step, stream)
        z = torch.randn(num, self.generator.z_dim, generator=rng, device=self.compute.device)
        return self.generator.mapping(z).float()


def _check(pixels: Pixels, config: PyramidEncoderConfig, most_px: int) -> None:
    """Raise ValueError unless images are square, not too large, and more than those held out."""
    if config.held_out < 1:
        raise ValueError(
            f"expected held_out from 1, got {config.held_out}: evaluation and sheets need held-out "
            "images"
        )
    if pixels.shape[1] != pixels.shape[2]:
        raise ValueError(
            f"expected square images [N, H, H, 3], got {list(pixels.shape)}: align them first"
        )
    if len(pixels) < config.held_out + config.batch_size or pixels.shape[1] > most_px:
        raise ValueError(
            f"expected at least {config.held_out + config.batch_size} images of at most "
            f"{most_px} px, the generator's, got {pixels.shape[:2]}"
        )
