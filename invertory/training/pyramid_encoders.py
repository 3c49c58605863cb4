"""Trains encoders of the pSp family: pictures, through encoder and frozen generator, and back.

pSp: Encoding in Style, Richardson et al. 2021, https://arxiv.org/abs/2008.00951. What e4e and
ReStyle add is in `e4e` and `restyle`. As in the code distances are means, an identity loss is one
minus the cosine of two embeddings (ArcFace's there; of whichever classifier is passed in here), and
the w-norm is that of the whole offset from the mean latent.

Two things are ours. The published optimiser, Ranger (RAdam and Lookahead), is not in torch: we have
AdamW with a warm-up, which is what RAdam's rectification does, and keep an average of the weights,
which does Lookahead's part. The heads speak in deviations of the generator's w.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from invertory.encoders.pyramid import Backbone, Heads, PyramidEncoder, Taps
from invertory.training.compute import Compute, Pictures, batch_rows
from invertory.training.reconstruction import mean_psnr_db, render, sheet_of
from invertory.training.supervised import Supervised, seeded

if TYPE_CHECKING:
    from invertory.classifier import AttributeClassifier
    from invertory.generators import Generator
    from invertory.images import Pixels
    from invertory.perceptual import Perceptual

NUM_SHOWN = 8  # pictures of a sheet
PART = 32  # pictures of one pass in evaluation
_MIRROR, _STATISTICS = 0, 1  # streams of draws


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidEncoderConfig:
    """Settings of a run of pSp's trainer; weights are the paper's for faces."""

    images: int = 800_000
    batch_size: int = 8
    learning_rate: float = 1e-4
    warm_up: float = 0.02  # share of `images` over which the rate rises
    weight_decay: float = 0.0
    half_life_images: float = 1_000
    mse_weight: float = 1.0
    perceptual_weight: float = 0.8
    identity_weight: float = 0.1  # without a classifier there is no such loss
    w_norm_weight: float = 0.0  # 0.005 for other things than faces
    mirror: bool = True
    held_out: int = 256  # the last pictures
    backbone: Backbone = "small"
    resolution: int = 0  # px that the encoder sees; 0: the pictures', 16 at the least
    widths: tuple[int, ...] = ()  # none: the backbone's usual ones
    style_width: int = 0  # 0: the backbone's usual one
    w_samples: int = 4096  # for mean and deviation of w
    seed: int = 0


Config = TypeVar("Config", bound=PyramidEncoderConfig)


@dataclass(frozen=True, slots=True)
class Goal:
    """A batch, and what the losses compare of it."""

    pictures: Tensor  # [N, 3, H, H] in [-1, 1]
    features: list[Tensor]
    embedding: Tensor | None


class PyramidEncoderTraining(Generic[Config]):
    """`Training` of a `PyramidEncoder` on uint8 pictures [N, H, H, 3] no finer than the generator's
    own. `encoder`, if given, is one whose maps are a start (see `PyramidEncoder.adopt`).
    """

    name = "psp"
    heads: Heads = "psp"
    taps: Taps = "pyramid"
    input_channels = 3

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
    ) -> None:
        self.generator, self.perceptual, self.classifier = generator, perceptual, classifier
        self.config, self.compute = config, compute or Compute()
        self._num = len(pictures) - config.held_out
        if self._num < config.batch_size or pictures.shape[1] > generator.resolution:
            raise ValueError(
                f"expected at least {config.held_out + config.batch_size} pictures of at most "
                f"{generator.resolution} px, the generator's, got {pictures.shape[:2]}"
            )
        self._real = Pictures(pictures, self.compute)
        self.w_mean, self.w_scale = self._statistics()
        network = seeded(self._fresh, config.seed)
        network.set_statistics(self.w_mean.cpu(), self.w_scale.cpu())
        if encoder is not None:
            network.adopt(encoder.state_dict())
        self._encoder = Supervised(network, config, self.compute)

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
        }

    def step(self, step: int) -> dict[str, Tensor]:
        """One batch of pictures."""
        self._encoder.clear()
        losses = self._accumulate(self._goal(self._batch(step)), step)
        self._encoder.advance(step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _accumulate(self, goal: Goal, step: int) -> dict[str, Tensor]:
        """The losses of one batch, their gradients added to the encoder's."""
        with self.compute.autocast():
            codes = self._encoder.network(goal.pictures)
        losses, _ = self._losses(codes, goal)
        torch.autograd.backward(self._total(losses))
        return losses

    def _losses(self, codes: Tensor, goal: Goal) -> tuple[dict[str, Tensor], Tensor]:
        """Codes [N, num_ws, w_dim] => losses that have a weight, and the pictures made."""
        weights = self.weights
        with self.compute.autocast():
            made = render(self.generator, codes, goal.pictures.shape[-1])
            losses = {"mse": (made.float() - goal.pictures).square().mean()}
            if weights["perceptual"]:
                features = self.perceptual.features(made)
                losses["perceptual"] = self.perceptual.distance(features, goal.features).mean()
            if goal.embedding is not None:
                losses["identity"] = 1 - self._likeness(made, goal.embedding).mean()
        if weights["w_norm"]:
            losses["w_norm"] = (codes - self.w_mean).flatten(1).norm(dim=1).mean()
        return losses, made

    def _total(self, losses: Mapping[str, Tensor]) -> Tensor:
        weights = self.weights
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def _likeness(self, made: Tensor, embedding: Tensor) -> Tensor:
        """Cosines of embeddings, [N]."""
        assert self.classifier is not None
        return cosine_similarity(self.classifier.embedding(made).float(), embedding, dim=1)

    @torch.no_grad()
    def _goal(self, real: Tensor) -> Goal:
        weights = self.weights
        with self.compute.autocast():
            features = self.perceptual.features(real) if weights["perceptual"] else []
            has_identity = self.classifier is not None and weights["identity"] > 0
            embedding = self.classifier.embedding(real).float() if has_identity else None  # type: ignore[union-attr]
        return Goal(real, features, embedding)

    def _batch(self, step: int) -> Tensor:
        config = self.config
        real = self._real[batch_rows(self._num, self.batch_size, seed=config.seed, step=step)]
        if not config.mirror:
            return real
        rng = self.compute.rng(config.seed, step, _MIRROR)
        is_turned = torch.rand(len(real), 1, 1, 1, generator=rng, device=real.device) < 0.5
        return torch.where(is_turned, real.flip(3), real)

    def inverted(self, pictures: Tensor) -> Tensor:
        """pictures [N, 3, H, H] => what the average encoder says, [N, num_ws, w_dim]."""
        with self.compute.autocast():
            codes: Tensor = self._encoder.average(pictures)
        return codes

    @torch.no_grad()
    def evaluate(self) -> dict[str, float]:
        """Of pictures held out and what their codes give: mean over pictures."""
        real = self._real[torch.arange(self._num, len(self._real))]
        codes = torch.cat([self.inverted(part) for part in torch.split(real, PART)])
        return self._alike(real, self._drawn(codes)) | self._told_of(codes)

    def _alike(self, real: Tensor, made: Tensor) -> dict[str, float]:
        features = self.perceptual.features
        pairs = list(zip(torch.split(real, PART), torch.split(made, PART), strict=True))
        distances = [self.perceptual.distance(features(a), features(b)) for a, b in pairs]
        told = {
            "mse": float((real - made).square().mean()),
            "psnr_db": mean_psnr_db(real, made),
            f"perceptual_{self.perceptual.name}": float(torch.cat(distances).mean()),
        }
        if self.classifier is not None:
            embedding = self.classifier.embedding
            found = [self._likeness(b, embedding(a)) for a, b in pairs]
            told["identity"] = float(torch.cat(found).mean())
        return told

    def _told_of(self, codes: Tensor) -> dict[str, float]:
        """Metrics of the codes [N, num_ws, w_dim] themselves."""
        return {}

    @torch.no_grad()
    def _drawn(self, codes: Tensor) -> Tensor:
        """Codes => pictures of the training's size in [-1, 1]."""
        made = []
        for part in torch.split(codes, PART):
            with self.compute.autocast():
                made.append(render(self.generator, part, self._real.size_px).float())
        return torch.cat(made).clamp(-1, 1)

    @torch.no_grad()
    def sheet(self) -> Tensor:
        """Held-out pictures above, those of their codes below."""
        shown = self._real[torch.arange(self._num, min(self._num + NUM_SHOWN, len(self._real)))]
        return sheet_of(shown, self._drawn(self.inverted(shown)))

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
            input_channels=self.input_channels,  # type: ignore[arg-type]
            widths=config.widths,
            style_width=config.style_width,
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
