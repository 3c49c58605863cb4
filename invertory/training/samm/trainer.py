"""Trains SAMM: real images pass a frozen encoder and generator, are aligned, then blended.

Out-of-domain GAN Inversion via Invertibility Decomposition, Yang, Xu and Chen 2023,
https://arxiv.org/abs/2212.09262, eq. 5 to 9. Masks and flows have no labels: the blended image must
equal the input, and masks, which could achieve that everywhere, are limited in area. See config.py
for the differences between paper and code. We differ in the schedule (Adam with a cosine and an
average of the weights), the distance (`perceptual` is a parameter), the identity term (the
embedding of an attribute classifier), the discriminator (which sees the unblended image), and, if
configured, an initial phase of alignment (known_warps.py). Log and evaluation show whether
alignment learns (invertory/networks/samm/figures.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from invertory.networks.samm.figures import FIGURES, alignment_figures
from invertory.networks.samm.network import Aligned, Samm, synthesise_at
from invertory.portraits.attributes import SEGMENTS
from invertory.training.adversarial import discriminator_loss, r1_penalty
from invertory.training.compute import Compute
from invertory.training.data.portrait_batches import PortraitMix, Rows
from invertory.training.loop.run import CompositeState
from invertory.training.optimiser import AveragedNetwork, seeded
from invertory.training.samm.config import SammConfig
from invertory.training.samm.known_warps import known_warp_losses, record_features, weighted_sum
from invertory.training.samm.losses import SammLosses
from invertory.training.samm.measures import measure

if TYPE_CHECKING:
    import numpy as np

    from invertory.encoders.residual import ResidualEncoder
    from invertory.generators import Generator
    from invertory.networks.classifier import AttributeClassifier
    from invertory.networks.samm.layers import Level
    from invertory.networks.samm.network import HookedGenerator
    from invertory.perceptual import Perceptual
    from invertory.portraits.dataset import PortraitSet

FOREIGN: Final = SEGMENTS.index("ood")
NUM_SHOWN: Final = 12  # images of a sheet
KNOWN_STREAM: Final = 1  # random stream; batches use 0
KEPT_UP: Final = 4  # after the initial phase, one image in four is still warped by a known flow


@dataclass
class SammTraining(CompositeState):
    """`Training` of a `Samm`. Only the discriminator is trained beside it, in place.

    A set consists of portraits, whose foreign objects are known, or of images alone; they have the
    size of the generator or of its preview, which is then aligned. `discriminator` and `classifier`
    may be None if the adversarial and identity weights are 0. Raises ValueError for other sizes and
    missing networks.
    """

    generator: HookedGenerator
    encoder: ResidualEncoder
    discriminator: nn.Module | None
    classifier: AttributeClassifier | None
    perceptual: Perceptual
    sets: Mapping[str, PortraitSet | np.ndarray]
    config: SammConfig = field(default_factory=SammConfig)
    compute: Compute = field(default_factory=Compute)
    name: str = "samm"

    def __post_init__(self) -> None:
        config = self.config
        self.mix = PortraitMix(
            self.sets, config.shares, held_out=config.held_out, compute=self.compute
        )
        self._check()
        for network in (self.generator, self.encoder, self.classifier):
            if network is not None:
                self.compute.place(network.eval().requires_grad_(False))
        self._num_known = config.num_known
        first = self._num_known * config.batch_size
        start = replace(config, images=max(first, 1), learning_rate=config.known_rate)
        rest = replace(config, images=max(config.images - first, 1))
        self._supervised = AveragedNetwork(
            seeded(self._build_network, config.seed), rest, self.compute
        )
        self._starting = AveragedNetwork(self._supervised.network, start, self.compute)
        self._losses = SammLosses(
            config,
            config.limits(len(self._supervised.network.levels)),
            self.perceptual,
            self.classifier,
            self.discriminator,
            self.compute,
        )
        if self.discriminator is not None:
            self.discriminator = self.compute.place(self.discriminator.requires_grad_(True).train())
            self._discriminator_optimiser = torch.optim.Adam(
                self.discriminator.parameters(), lr=config.discriminator_rate, betas=(0.0, 0.99)
            )

    def _check(self) -> None:
        """Raise ValueError for wrong image sizes or terms whose network is missing."""
        sizes_px = sorted({self.generator.resolution, self.generator.preview_resolution})
        if self.mix.size_px not in sizes_px:
            raise ValueError(
                f"expected images of {' or '.join(map(str, sizes_px))} px, the generator's, got "
                f"{self.mix.size_px} px: prepare images of this size, since blending is per pixel"
            )
        weights = self.config.weights
        networks = {
            ("discriminator", "adversarial"): (self.discriminator, weights.adversarial),
            ("classifier", "identity"): (self.classifier, weights.identity),
        }
        for (kind, term), (network, weight) in networks.items():
            if network is None and weight > 0:
                raise ValueError(
                    f"expected a {kind} for the {term} term, got none: name one in uses, or set "
                    f"{term}_weight to 0"
                )

    def _build_network(self) -> Samm:
        """An untrained network whose masks start near their area limits."""
        config = self.config
        samm = Samm.between(
            self.encoder,
            cast("Generator", self.generator),
            num=config.num_levels,
            cycles=config.cycles[0],
            alignment=config.alignment,
            preset=config.preset,
            narrowing=config.narrowing,
        )
        for level, area in zip(samm.levels, config.limits(len(samm.levels)), strict=True):
            cast("Level", level).set_initial_area(area)
        return samm

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def step(self, step: int) -> dict[str, Tensor]:
        """One step of the modules, then, if it is active, one of the discriminator."""
        config = self.config
        real, cycles = self._batch(step)
        if step < self._num_known:
            return self._step_known(real, step)
        first = self._num_known * config.batch_size  # images before the main phase
        done = (step * config.batch_size - first) / max(config.images - first, 1)
        is_judged = config.weights.adversarial > 0 and done >= config.adversarial_from
        if self.discriminator is not None:
            self.discriminator.requires_grad_(False)
        aligned = self._aligned(self._supervised.network, real, cycles, self._num_levels(done))
        losses = self._losses(aligned, real, is_judged=is_judged)
        total = self._losses.total(losses)
        if self._num_known:
            known = self._known_warp_losses(real[: -(-len(real) // KEPT_UP)], step)
            total, losses = total + weighted_sum(known), losses | known
        self._supervised.descend(total, step - self._num_known)
        if is_judged:
            losses |= self._step_discriminator(real, aligned.synth.detach(), step)
        logged = {"mask_area": aligned.mask().detach().mean()} | self._alignment_figures(aligned)
        return {name: loss.detach() for name, loss in losses.items()} | logged

    def _step_known(self, real: Tensor, step: int) -> dict[str, Tensor]:
        """One step of the initial phase (see known_warps.py)."""
        losses = self._known_warp_losses(real, step)
        self._starting.descend(weighted_sum(losses), step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _known_warp_losses(self, real: Tensor, step: int) -> dict[str, Tensor]:
        """Losses of known warps, on synthesised images with the codes of real ones."""
        samm, size_px = self._supervised.network, self.mix.size_px
        with self.compute.autocast():
            with torch.no_grad():
                w_plus = self.encoder(real).expand(-1, self.generator.num_ws, -1)
            parts = record_features(samm, self.generator, self.encoder, w_plus, size_px)
            rng = self.compute.rng(self.config.seed, step, KNOWN_STREAM)
            return known_warp_losses(samm, parts, rng)

    def _batch(self, step: int) -> tuple[Tensor, int]:
        """Images, and the number of cycles."""
        config = self.config
        real = self.mix.images(self.mix.batch(config.batch_size, seed=config.seed, step=step))
        rng = self.compute.rng(config.seed, step)
        draws = torch.rand(len(real) + 1, generator=rng, device=real.device)
        cycles = config.cycles[int(draws[-1] * len(config.cycles))]
        is_turned = (draws[:-1] < 0.5)[:, None, None, None] & config.mirror
        return torch.where(is_turned, real.flip(3), real), cycles

    def _num_levels(self, done: float) -> int:
        """Number of active levels: they are added coarse to fine, the last one at `levels_by`."""
        num = len(self._supervised.network.levels)
        by = self.config.levels_by
        return num if done >= by else 1 + int(done / by * (num - 1))

    def _aligned(self, samm: Samm, real: Tensor, cycles: int, num_levels: int) -> Aligned:
        with self.compute.autocast():
            with torch.no_grad():
                w_plus, taps = self.encoder.tapped(real)
            w_plus = w_plus.expand(-1, self.generator.num_ws, -1)
            aligned = samm.align(
                self.generator,
                w_plus,
                taps,
                cycles=cycles,
                num_levels=num_levels,
                size_px=self.mix.size_px,
            )
        aligned.synth = aligned.synth.float()
        return aligned

    def _step_discriminator(self, real: Tensor, synth: Tensor, step: int) -> dict[str, Tensor]:
        config, discriminator = self.config, self.discriminator
        assert discriminator is not None  # ensured by `_check`
        discriminator.requires_grad_(True)
        with self.compute.autocast():
            losses = {
                "discriminator": discriminator_loss(discriminator(real), discriminator(synth))
            }
        total = losses["discriminator"]
        if config.r1_gamma > 0 and step % config.r1_every == 0:
            with self.compute.autocast(enabled=False):
                losses["r1"] = r1_penalty(discriminator, real)
            total = total + config.r1_every * config.r1_gamma / 2 * losses["r1"]
        self._discriminator_optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        self._discriminator_optimiser.step()
        return losses

    def evaluate(self) -> dict[str, float]:
        """Means over the test rows of each set, as <set>/<name>.

        PSNR of the encoder's latent (`plain_psnr_db`), aligned (`aligned_psnr_db`) and blended
        (`psnr_db`); the area of the mask; with foreign objects, the agreement of mask and objects;
        and the metrics of figures.py.
        """
        metrics: dict[str, float] = {}
        for name in self.mix.names:
            rows = self.mix.held("test", name)
            real, results = self.mix.images(rows), self._invert_rows(rows)
            truth = torch.zeros_like(results["mask"], dtype=torch.bool)
            if self.mix.has_labels(name):
                truth = self.mix.labels(rows, "segmentations")[:, None] == FOREIGN
            own = measure(real, results, truth)
            own |= {key: float(results[key].mean()) for key in FIGURES if key in results}
            metrics |= {f"{name}/{key}": value for key, value in own.items()}
        return metrics

    @torch.no_grad()
    def _invert_rows(self, rows: Rows) -> dict[str, Tensor]:
        """The plain synthesis, the aligned one, the mask, the blended image; and figures per 16
        rows.
        """
        samm, parts = self._supervised.average, []
        for real in torch.split(self.mix.images(rows), 16):
            aligned = self._aligned(samm, real, samm.cycles, len(samm.levels))
            with self.compute.autocast():
                w_plus = self.encoder(real).expand(-1, self.generator.num_ws, -1)
                plain = synthesise_at(self.generator, w_plus, self.mix.size_px).float()
            mask = aligned.mask()
            blended = torch.lerp(aligned.synth, real, mask)
            own = {name: value[None] for name, value in self._alignment_figures(aligned).items()}
            drawn = {"plain": plain, "aligned": aligned.synth, "mask": mask, "blended": blended}
            parts.append(drawn | own)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _alignment_figures(self, aligned: Aligned) -> dict[str, Tensor]:
        """Metrics of alignment, if anything is warped."""
        return alignment_figures(aligned) if self.config.alignment == "full" else {}

    def sheet(self) -> Tensor:
        """Rows of held-out images of the last set, plain syntheses, masks, and blended images."""
        name = self.mix.names[-1]
        rows = {name: self.mix.held("test", name)[name][:NUM_SHOWN]}
        results = self._invert_rows(rows)
        masks = (2 * results["mask"] - 1).expand(-1, 3, -1, -1)
        strips = (self.mix.images(rows), results["plain"], masks, results["blended"])
        return torch.cat([torch.cat(list(strip), 2) for strip in strips], 1).clamp(-1, 1)

    def networks(self) -> dict[str, nn.Module]:
        return {"samm": self._supervised.average}

    def _components(self) -> dict[str, Any]:
        parts: dict[str, Any] = {"supervised": self._supervised}
        if self._num_known:
            parts["starting"] = self._starting
        if self.discriminator is not None:
            parts["discriminator"] = self.discriminator
            parts["discriminator_optimiser"] = self._discriminator_optimiser
        return parts
