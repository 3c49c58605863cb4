"""Trains encoders of the pSp family: pictures, through encoder and frozen generator, and back.

pSp: Encoding in Style, Richardson et al. 2021, https://arxiv.org/abs/2008.00951. What e4e and
ReStyle add is in `e4e` and `restyle`. As in the code distances are means, an identity loss is one
minus the cosine of two embeddings (ArcFace's there; of whichever classifier is passed in here), and
the w-norm is that of the whole offset from the mean latent.

Three things are ours. The published optimiser, Ranger (RAdam and Lookahead), is not in torch: we
have AdamW with a warm-up, which is what RAdam's rectification does, and keep an average of the
weights, which does Lookahead's part. The heads speak in deviations of the generator's w. And for
training on few cores, off unless set: losses on pictures of `image_px`, on the first
`image_pictures` of a batch alone; for the others of a batch of pairs the distance to the latents
that made them (`latent_weight`, see `known_latents`); pictures altered as photographs differ, and
grain (`alter`, `grain`, see `photographic`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import torch
from torch import Tensor, nn

from invertory.encoders.pyramid import Heads, PyramidEncoder, Taps
from invertory.training.compute import Compute, Pictures, batch_rows
from invertory.training.optimiser import Supervised, seeded
from invertory.training.pyramid.config import PyramidEncoderConfig
from invertory.training.pyramid.known_latents import KnownLatents
from invertory.training.pyramid.likeness import PART, alike, likeness
from invertory.training.pyramid.photographic import altered, grained
from invertory.training.reconstruction import render, sheet_of, shrink

if TYPE_CHECKING:
    import numpy as np

    from invertory.generators import Generator
    from invertory.images import Pixels
    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual

NUM_SHOWN = 8  # pictures of a sheet
_MIRROR, _STATISTICS, _ALTER, _GRAIN = 0, 1, 5, 6  # streams of draws


Config = TypeVar("Config", bound=PyramidEncoderConfig)


@dataclass(frozen=True, slots=True)
class Goal:
    """A batch, and what the losses compare of its first N pictures."""

    seen: Tensor  # [M, 3, H, H], what the encoder sees
    pictures: Tensor  # [N, 3, image_px, image_px] in [-1, 1]
    features: list[Tensor]
    embedding: Tensor | None
    rows: Tensor  # [M] int64, of the training set


class PyramidEncoderTraining(Generic[Config]):
    """`Training` of a `PyramidEncoder` on uint8 pictures [N, H, H, 3] no finer than the generator's
    own. `encoder`, if given, is one whose maps are a start (see `PyramidEncoder.adopt`); `w_plus`
    [N, num_ws, w_dim] are the latents that made the pictures, where they are known.
    """

    name = "psp"
    taps: Taps = "pyramid"
    input_channels: Literal[3, 6] = 3

    def __init__(
        self,
        generator: Generator,
        perceptual: Perceptual,
        pictures: Pixels,
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
            for frozen in (generator, perceptual):  # half the time of a step is else for layouts
                self.compute.place(cast(nn.Module, frozen))
        _check(pictures, config, generator.resolution)
        self._num = len(pictures) - config.held_out
        self._real = Pictures(pictures, self.compute)
        self.w_mean, self.w_scale = self._statistics()
        network = seeded(self._fresh, config.seed)
        network.set_statistics(self.w_mean.cpu(), self.w_scale.cpu())
        if encoder is not None:
            network.adopt(encoder.state_dict())
        self._encoder = Supervised(network, config, self.compute)
        self._known = None
        if config.latent_weight:
            self._known = KnownLatents.of(generator, w_plus, self.w_scale)

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    @property
    def weights(self) -> dict[str, float]:
        """Loss => weight; a loss without a weight is not computed, except the first."""
        config = self.config
        return {
            "mse": config.mse_weight,
            "perceptual": config.perceptual_weight,
            "identity": config.identity_weight if self.classifier else 0.0,
            "w_norm": config.w_norm_weight,
            "latent": config.latent_weight,
        }

    def step(self, step: int) -> dict[str, Tensor]:
        """One batch of pictures."""
        self._encoder.clear()
        losses = self._accumulate(self._goal(*self._batch(step)), step)
        self._encoder.advance(step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _accumulate(self, goal: Goal, step: int) -> dict[str, Tensor]:
        """The losses of one batch, their gradients added to the encoder's."""
        with self.compute.autocast():
            codes = self._encoder.network(goal.seen)
        losses, _ = self._losses(codes, goal)
        torch.autograd.backward(self._total(losses))
        return losses

    def _losses(self, codes: Tensor, goal: Goal) -> tuple[dict[str, Tensor], Tensor]:
        """Codes [N, num_ws, w_dim] => losses that have a weight, and the pictures made."""
        weights, num = self.weights, len(goal.pictures)
        with self.compute.autocast():
            made = render(self.generator, codes[:num], goal.pictures.shape[-1])
            losses = {"mse": (made.float() - goal.pictures).square().mean()}
            if weights["perceptual"]:
                features = self.perceptual.features(made)
                losses["perceptual"] = self.perceptual.distance(features, goal.features).mean()
            if goal.embedding is not None:
                assert self.classifier is not None
                losses["identity"] = 1 - likeness(self.classifier, made, goal.embedding).mean()
        if weights["w_norm"]:
            losses["w_norm"] = (codes - self.w_mean).flatten(1).norm(dim=1).mean()
        if self._known is not None:
            others = slice(num if num < len(codes) else 0, None)
            losses["latent"] = self._known.error(codes[others], goal.rows[others])
        return losses, made

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        weights = self.weights
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    @torch.no_grad()
    def _goal(self, seen: Tensor, real: Tensor, rows: Tensor) -> Goal:
        weights = self.weights
        with self.compute.autocast():
            features = self.perceptual.features(real) if weights["perceptual"] else []
            judge = self.classifier if weights["identity"] > 0 else None
            embedding = judge.embedding(real).float() if judge is not None else None
        return Goal(seen, real, features, embedding, rows)

    def _batch(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the encoder sees, the pictures to be made of its first ones, and the rows."""
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
        """At which pictures are compared."""
        return self.config.image_px or self._real.size_px

    def inverted(self, pictures: Tensor) -> Tensor:
        """pictures [N, 3, H, H] => what the average encoder says, [N, num_ws, w_dim]."""
        with self.compute.autocast():
            codes: Tensor = self._encoder.average(pictures)
        return codes

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Of pictures held out and what their codes give: mean over pictures."""
        real = self._real[self._held_out()]
        codes = torch.cat([self.inverted(part) for part in torch.split(real, PART)])
        pairs = shrink(real, self._image_px), self._drawn(codes)
        told = alike(*pairs, self.perceptual, self.classifier) | self._told_of(codes)
        if self._known is not None:
            told["latent_error"] = float(self._known.error(codes, self._held_out()))
        return told

    def _told_of(self, codes: Tensor) -> dict[str, float]:
        """Metrics of the codes [N, num_ws, w_dim] themselves."""
        return {}

    @torch.no_grad()
    def _drawn(self, codes: Tensor) -> Tensor:
        """Codes => pictures of the size that is compared, in [-1, 1]."""
        made = []
        for part in torch.split(codes, PART):
            with self.compute.autocast():
                made.append(render(self.generator, part, self._image_px).float())
        return torch.cat(made).clamp(-1, 1)

    def _held_out(self) -> Tensor:
        return torch.arange(self._num, len(self._real))

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Held-out pictures above, those of their codes below."""
        shown = self._real[self._held_out()[:NUM_SHOWN]]
        return sheet_of(shown, self._drawn(self.inverted(shown)))

    @property
    def heads(self) -> Heads:
        return "psp"

    def state_dict(self) -> dict[str, Any]:
        return self._encoder.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._encoder.load_state_dict(state)

    def networks(self) -> dict[str, nn.Module]:
        return {self.name: self._encoder.average}

    def _fresh(self) -> PyramidEncoder:
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
        """The generator's mean w and the deviation of its w's, [w_dim] each."""
        w = self._w_drawn(self.config.w_samples, 0, _STATISTICS)
        return self.generator.w_avg.float(), w.std(0)

    @torch.no_grad()
    def _w_drawn(self, num: int, step: int, stream: int) -> Tensor:
        """w of fresh z, [num, w_dim], a function of the seed, the step and the stream."""
        rng = self.compute.rng(self.config.seed, step, stream)
        z = torch.randn(num, self.generator.z_dim, generator=rng, device=self.compute.device)
        return self.generator.mapping(z).float()


def _check(pictures: Pixels, config: PyramidEncoderConfig, most_px: int) -> None:
    """Square pictures that the generator can draw, with some beside those held out."""
    if config.held_out < 1:
        raise ValueError(
            f"expected held_out from 1, got {config.held_out}: what is held out is measured and "
            "shown, and is not learnt from"
        )
    if pictures.shape[1] != pictures.shape[2]:
        raise ValueError(
            f"expected square pictures [N, H, H, 3], got {list(pictures.shape)}: align them first"
        )
    if len(pictures) < config.held_out + config.batch_size or pictures.shape[1] > most_px:
        raise ValueError(
            f"expected at least {config.held_out + config.batch_size} pictures of at most "
            f"{most_px} px, the generator's, got {pictures.shape[:2]}"
        )
