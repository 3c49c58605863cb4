"""Trains SAM's encoders to reconstruct portraits through W+ and feature changes.

Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022,
https://arxiv.org/abs/2206.08357, section 3.3: eq. 3.8 over images instead of latents,

    |x - x'|^2 + a LPIPS(x, x') + b (prior(w_plus) + |w_n - w_0|^2) + c |m delta|^2

with means for norms, so that weights do not depend on the size, and each delta in standard
deviations of its feature. The paper does not give the weights. The perceptual distance that is
passed in replaces LPIPS. The paper trains one encoder per space; we train all of them together,
with a random map of the spaces for each image (`space_maps`). The pretrained encoder of W+ has a
separate learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.f_space import W_PLUS, f_spaces, resolve_spaces
from invertory.inversion.gaussian_prior import prior
from invertory.inversion.w_space import Whitening, mapped_draws
from invertory.metrics.pixel import psnr_db
from invertory.networks.sam_encoder import SamEncoder, SamSynthesis
from invertory.portraits.attributes import SEGMENTS
from invertory.training.compute import Compute, average_of, decay_of, update_average
from invertory.training.data.portrait_batches import PortraitMix, Rows
from invertory.training.loop.run import CompositeState
from invertory.training.optimiser import cosine_rate, seeded
from invertory.training.reconstruction import shrink
from invertory.training.sam.space_maps import checked_shares, space_maps

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.perceptual import Perceptual
    from invertory.portraits.dataset import PortraitSet

NUM_DRAWS = 256  # draws of the generator for the statistics of features
NUM_SHOWN = 8  # images of a sheet
BY_SEGMENTS = "by_segments"  # the map by segments, with foreign objects in the last space
_BATCH, _MAPS = 0, 1  # random streams of a step


@dataclass(frozen=True, slots=True, kw_only=True)
class SamEncoderConfig:
    """Settings of a run; the learning rates decay to 0 over `images`."""

    spaces: tuple[str, ...] = ()  # empty: the generator's defaults
    images: int = 30_000
    batch_size: int = 16
    learning_rate: float = 2e-3  # of the F encoders
    base_rate: float = 2e-4  # of the base encoder
    warm_up: float = 0.02
    mse_weight: float = 1.0
    perceptual_weight: float = 0.1
    prior_weight: float = 1e-4
    spread_weight: float = 1e-3  # of |w_n - w_0|^2
    feature_weight: float = 3e-3
    map_shares: tuple[float, float, float] = (0.4, 0.4, 0.2)  # one space, segments, cells
    hidden: int = 48
    depth: int = 2
    half_life_images: float = 1_000
    shares: tuple[float, ...] = (0.5, 0.4, 0.1)  # shares of the sets in a batch
    mirror: bool = True
    held_out: int = 700  # rows of each set, twice
    measured: int = 64  # test rows that are measured
    w_samples: int = 10_000
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "map_shares", checked_shares(self.map_shares))


@dataclass
class SamEncoderTraining(CompositeState):
    """`Training` of a `SamEncoder` that starts as `base`; generator and distance are frozen."""

    generator: Generator
    base: nn.Module
    perceptual: Perceptual
    sets: Mapping[str, PortraitSet]
    config: SamEncoderConfig = field(default_factory=SamEncoderConfig)
    compute: Compute = field(default_factory=Compute)
    name: str = "sam_encoder"

    def __post_init__(self) -> None:
        config = self.config
        self.mix = PortraitMix(
            self.sets, config.shares, held_out=config.held_out, compute=self.compute
        )
        encoder = seeded(self._build_network, config.seed).requires_grad_(True).train()
        self.encoder = self.compute.place(encoder)
        self._average = average_of(self.encoder)
        self._whitening = Whitening.of(self.generator, config.w_samples)
        base = [p for name, p in self.encoder.named_parameters() if name.startswith("base.")]
        own = [p for name, p in self.encoder.named_parameters() if not name.startswith("base.")]
        rates = (config.base_rate, config.learning_rate)
        self._optimiser = torch.optim.Adam(
            [{"params": base, "lr": rates[0]}, {"params": own, "lr": rates[1]}],
            betas=(0.9, 0.99),
            fused=True,
        )

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def step(self, step: int) -> dict[str, Tensor]:
        """Train all encoders on one batch and its maps."""
        config = self.config
        images, choice = self._batch(step)
        with self.compute.autocast():
            formed = self.encoder.form(self.generator, images, choice)
        losses = self._losses(images, formed)
        terms = [getattr(config, f"{name}_weight") * loss for name, loss in losses.items()]
        self._descend(torch.stack(terms).sum(), step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _losses(self, images: Tensor, formed: SamSynthesis) -> dict[str, Tensor]:
        """The terms of eq. 3.8 (eq. 3.5 to 3.7)."""
        real = shrink(images, formed.images.shape[-1])
        synth = shrink(formed.images, real.shape[-1])
        with self.compute.autocast():
            features = self.perceptual.features
            distance = self.perceptual.distance(features(synth), features(real)).mean()
        w_plus = formed.w_plus
        return {
            "mse": (synth.float() - real).square().mean(),
            "perceptual": distance,
            "prior": prior(w_plus, self._whitening).mean(),
            "spread": (w_plus - w_plus[:, :1]).square().mean(),
            "feature": self._change(formed),
        }

    def _change(self, formed: SamSynthesis) -> Tensor:
        """Eq. 3.7 in standard deviations: the mean over each feature, summed over features."""
        blocks, parts = f_spaces(self.generator), [formed.w_plus.new_zeros(())]
        for name, encoder in self.encoder.deltas.items():
            delta = formed.features.deltas[blocks[name][0]]
            parts.append((delta / cast("Tensor", encoder.scale)).square().mean())
        return torch.stack(parts).sum()

    def _descend(self, loss: Tensor, step: int) -> None:
        config = self.config
        rate = cosine_rate(step * self.batch_size / config.images, config.warm_up)
        rates = (config.base_rate, config.learning_rate)
        for group, full in zip(self._optimiser.param_groups, rates, strict=True):
            group["lr"] = full * rate
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self._optimiser.step()
        decay = decay_of(config.half_life_images, self.batch_size)
        update_average(self._average, self.encoder, min(decay, (step + 1) / (step + 10)))

    def _batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Images [N, 3, H, W], some mirrored, and their maps [N, H, W]."""
        config = self.config
        rows = self.mix.batch(self.batch_size, seed=config.seed, step=step)
        images, segments = self.mix.images(rows), self.mix.labels(rows, "segmentations")
        if config.mirror:
            rng = self.compute.rng(config.seed, step, _BATCH)
            is_turned = torch.rand(len(images), generator=rng, device=images.device) < 0.5
            images = torch.where(is_turned[:, None, None, None], images.flip(3), images)
            segments = torch.where(is_turned[:, None, None], segments.flip(2), segments)
        rng = self.compute.rng(config.seed, step, _MAPS)
        return images, space_maps(segments, len(self.encoder.spaces), config.map_shares, rng)

    def evaluate(self) -> dict[str, float]:
        """PSNR and perceptual distance on test rows, per map and averaged over all sets, then per
        set.

        Maps assign the whole image to one space, or each segment to a space.
        """
        metrics: dict[str, float] = {}
        for kind in self._kinds():
            parts = {name: self._measure(name, kind) for name in self.mix.names}
            for i, measure in enumerate(("psnr_db", f"perceptual_{self.perceptual.name}")):
                means = {f"{name}/{measure}/{kind}": own[i] for name, own in parts.items()}
                metrics[f"{measure}/{kind}"] = float(torch.cat(list(means.values())).mean())
                metrics |= {name: float(values.mean()) for name, values in means.items()}
        return metrics

    def _kinds(self) -> tuple[str, ...]:
        """The kinds of maps to evaluate."""
        spaces = self.encoder.spaces
        return (*spaces, BY_SEGMENTS) if len(spaces) > 1 else spaces

    def _measure(self, name: str, kind: str) -> tuple[Tensor, Tensor]:
        """PSNR [num] in dB and perceptual distance [num]."""
        (rows,) = self.mix.held("test", name).values()
        features = self.perceptual.features
        psnr, distances = [], []
        for part in torch.split(rows[: self.config.measured], 16):
            real, synth = self._reconstruct({name: part}, kind)
            psnr.append(psnr_db(real, synth))
            distances.append(self.perceptual.distance(features(synth), features(real)))
        return torch.cat(psnr), torch.cat(distances)

    @torch.no_grad()
    def _reconstruct(self, rows: Rows, kind: str) -> tuple[Tensor, Tensor]:
        """Images and their reconstructions by the average encoder, at one size."""
        images = self.mix.images(rows)
        with self.compute.autocast():
            formed = self._average.form(self.generator, images, self._choice(rows, kind))
        real = shrink(images, formed.images.shape[-1])
        return real, shrink(formed.images.float().clamp(-1, 1), real.shape[-1])

    def _choice(self, rows: Rows, kind: str) -> Tensor:
        """A map of one space; or objects in the last, background and hair in the first F space."""
        segments, spaces = self.mix.labels(rows, "segmentations"), self.encoder.spaces
        if kind != BY_SEGMENTS:
            return torch.full_like(segments, spaces.index(kind))
        table = torch.zeros(len(SEGMENTS), dtype=torch.uint8, device=segments.device)
        for name, space in (("background", 1), ("hair", 1), ("ood", len(spaces) - 1)):
            table[SEGMENTS.index(name)] = space
        return table[segments.long()]

    def sheet(self) -> Tensor:
        """Rows of test images, their reconstructions in each space, and with a map by segments."""
        name = self.mix.names[min(1, len(self.mix.names) - 1)]
        (rows,) = self.mix.held("test", name).values()
        rows_shown = {name: rows[:NUM_SHOWN]}
        pairs = [self._reconstruct(rows_shown, kind) for kind in self._kinds()]
        strips = [pairs[0][0], *(synth for _, synth in pairs)]
        return torch.cat([torch.cat(list(strip.float().cpu()), 2) for strip in strips], 1)

    def networks(self) -> dict[str, nn.Module]:
        return {"sam_encoder": self._average}

    def _components(self) -> dict[str, Any]:
        return {"encoder": self.encoder, "average": self._average, "optimiser": self._optimiser}

    def _build_network(self) -> SamEncoder:
        """An encoder that starts as `base`, for the configured spaces, with feature statistics."""
        base, generator = self.base, self.generator
        if isinstance(base, ResidualEncoder) and base.num_ws == 1:
            base = base.widen(generator.num_ws)
        spaces = resolve_spaces(generator, self.config.spaces)
        sizes = {"hidden": self.config.hidden, "depth": self.config.depth}
        encoder = SamEncoder.from_base(generator, base, spaces, **sizes)
        blocks = {name: f_spaces(generator)[name][0] for name in spaces if name != W_PLUS}
        if blocks:
            w = mapped_draws(generator, NUM_DRAWS).to(generator.w_avg)
            w_plus = w[:, None].expand(-1, generator.num_ws, -1)
            with torch.no_grad():
                drawn = generator.features(w_plus, tuple(blocks.values()))
            encoder.set_statistics({name: drawn[block] for name, block in blocks.items()})
        return encoder
