"""Trains SAMM: real pictures through a frozen encoder and generator, aligned, then blended.

Out-of-domain GAN Inversion via Invertibility Decomposition, Yang, Xu and Chen 2023,
https://arxiv.org/abs/2212.09262, eq. 5 to 9. No labels of masks or flows: the blended picture is to
be the input, and the masks, which would make it so everywhere, are held to an area. What print and
code differ in lies in samm_config.py. Ours differs in the schedule (Adam with a cosine, an average
of the weights is kept), in distances (the `perceptual` that is passed in), in the identity, for
which the embedding of an attribute classifier stands, and in that the discriminator sees the
unblended picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, relu

from invertory.metrics.ood_masks import mask_iou, ood_area, pooled_iou, soft_iou
from invertory.metrics.pixel import psnr_db
from invertory.portraits.attributes import SEGMENTS
from invertory.samm import Aligned, Samm
from invertory.training.adversarial import discriminator_loss, generator_loss, r1_penalty
from invertory.training.compute import Compute
from invertory.training.portrait_batches import PortraitMix, Rows
from invertory.training.samm_config import SammConfig
from invertory.training.supervised import Supervised, seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invertory.classifier import AttributeClassifier
    from invertory.encoders.residual import ResidualEncoder
    from invertory.generators import Generator
    from invertory.generators.stylegan2 import StyleGAN2
    from invertory.perceptual import Perceptual
    from invertory.portraits.dataset import PortraitSet

FOREIGN: Final = SEGMENTS.index("ood")
NUM_SHOWN: Final = 12  # pictures of a sheet


@dataclass
class SammTraining:
    """`Training` of a `Samm`; `networks` has generator, encoder, discriminator, classifier and
    perceptual. Only the discriminator is trained beside it, in place.
    """

    generator: StyleGAN2
    encoder: ResidualEncoder
    discriminator: nn.Module
    classifier: AttributeClassifier
    perceptual: Perceptual
    sets: Mapping[str, PortraitSet]
    config: SammConfig = field(default_factory=SammConfig)
    compute: Compute = field(default_factory=Compute)
    name: str = "samm"

    def __post_init__(self) -> None:
        config = self.config
        self.mix = PortraitMix(
            self.sets, config.shares, held_out=config.held_out, compute=self.compute
        )
        if self.mix.size_px != self.generator.resolution:
            raise ValueError(
                f"expected pictures of {self.generator.resolution} px, the generator's, got "
                f"{self.mix.size_px} px: they are blended pixel by pixel"
            )
        for network in (self.generator, self.encoder, self.classifier):
            self.compute.place(network.eval().requires_grad_(False))
        self.discriminator = self.compute.place(self.discriminator.requires_grad_(True).train())
        self._supervised = Supervised(seeded(self._fresh, config.seed), config, self.compute)
        self._areas = config.limits(len(self._supervised.network.levels))
        self._judging = torch.optim.Adam(
            self.discriminator.parameters(), lr=config.discriminator_rate, betas=(0.0, 0.99)
        )

    def _fresh(self) -> Samm:
        config = self.config
        return Samm.between(
            self.encoder,
            cast("Generator", self.generator),
            num=config.num_levels,
            cycles=config.cycles[0],
            alignment=config.alignment,
            preset=config.preset,
            narrowing=config.narrowing,
        )

    @property
    def batch_size(self) -> int:
        return self.config.batch_size

    def step(self, step: int) -> dict[str, Tensor]:
        """One step of the modules, then, where it takes part, one of the discriminator."""
        config = self.config
        done = step * config.batch_size / config.images
        real, cycles = self._batch(step)
        is_judged = config.weights.adversarial > 0 and done >= config.adversarial_from
        self.discriminator.requires_grad_(False)
        found = self._aligned(self._supervised.network, real, cycles, self._num_levels(done))
        losses = self._losses(found, real, is_judged=is_judged)
        weights = self._loss_weights()
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self._supervised.descend(total, step)
        if is_judged:
            losses |= self._step_discriminator(real, found.synth.detach(), step)
        area = {"mask_area": found.mask().detach().mean()}
        return {name: loss.detach() for name, loss in losses.items()} | area

    def _batch(self, step: int) -> tuple[Tensor, int]:
        """Pictures, and the number of cycles."""
        config = self.config
        real = self.mix.pictures(self.mix.batch(config.batch_size, seed=config.seed, step=step))
        rng = self.compute.rng(config.seed, step)
        draws = torch.rand(len(real) + 1, generator=rng, device=real.device)
        cycles = config.cycles[int(draws[-1] * len(config.cycles))]
        is_turned = (draws[:-1] < 0.5)[:, None, None, None] & config.mirror
        return torch.where(is_turned, real.flip(3), real), cycles

    def _num_levels(self, done: float) -> int:
        """Coarse to fine, one after the other, the first at once and the last at `levels_by`."""
        num = len(self._supervised.network.levels)
        by = self.config.levels_by
        return num if done >= by else 1 + int(done / by * (num - 1))

    def _aligned(self, samm: Samm, real: Tensor, cycles: int, num_levels: int) -> Aligned:
        with self.compute.autocast():
            with torch.no_grad():
                w_plus, taps = self.encoder.tapped(real)
            w_plus = w_plus.expand(-1, self.generator.num_ws, -1)
            found = samm.align(self.generator, w_plus, taps, cycles=cycles, num_levels=num_levels)
        found.synth = found.synth.float()
        return found

    def _losses(self, found: Aligned, real: Tensor, *, is_judged: bool) -> dict[str, Tensor]:
        """Eq. 5 to 8, unweighted."""
        weights, mask = self.config.weights, found.mask()
        blended = torch.lerp(found.synth, real, mask)
        losses = {"mse": (blended - real).square().mean()}
        with self.compute.autocast():
            told, wanted = self.perceptual.features(blended), self._features(real)
            losses["perceptual"] = self.perceptual.distance(told, wanted).mean()
            if weights.identity:
                made, true = (self.classifier.embedding(x).float() for x in (blended, real))
                losses["identity"] = 1 - cosine_similarity(made, true).mean()
            if is_judged:
                losses["adversarial"] = generator_loss(self.discriminator(found.synth))
        if weights.gram:
            losses["gram"] = gram_distance(told, wanted)
        masks = torch.stack([torch.minimum(m, 1 - m).mean() for m in found.masks])
        losses["binary"] = masks.sum()  # eq. 6
        losses["area"] = self._beyond(found.masks, mask)
        return losses

    @torch.no_grad()
    def _features(self, real: Tensor) -> list[Tensor]:
        return self.perceptual.features(real)

    def _beyond(self, masks: Sequence[Tensor], gathered: Tensor) -> Tensor:
        """Eq. 7, of the levels that take part and of the mask that they give together."""
        weights = self.config.weights
        found = [relu(m.mean() - limit) for m, limit in zip(masks, self._areas, strict=False)]
        if weights.gathered_area is not None:
            found.append(relu(gathered.mean() - weights.gathered_area))
        return torch.stack(found).sum()

    def _loss_weights(self) -> dict[str, float]:
        config, weights = self.config, self.config.weights
        return {
            "mse": config.mse_weight,
            "perceptual": config.perceptual_weight,
            "identity": weights.identity,
            "adversarial": weights.adversarial,
            "gram": weights.gram,
            "binary": config.binary_weight,
            "area": weights.area,
        }

    def _step_discriminator(self, real: Tensor, made: Tensor, step: int) -> dict[str, Tensor]:
        config, judge = self.config, self.discriminator
        judge.requires_grad_(True)
        with self.compute.autocast():
            losses = {"discriminator": discriminator_loss(judge(real), judge(made))}
        total = losses["discriminator"]
        if config.r1_gamma > 0 and step % config.r1_every == 0:
            with self.compute.autocast(enabled=False):
                losses["r1"] = r1_penalty(judge, real)
            total = total + config.r1_every * config.r1_gamma / 2 * losses["r1"]
        self._judging.zero_grad(set_to_none=True)
        torch.autograd.backward(total)
        self._judging.step()
        return losses

    def evaluate(self) -> dict[str, float]:
        """Means over the test rows of each set as <set>/<name>: of what the encoder's latent gives
        (`plain_psnr_db`), aligned, and blended (`psnr_db`); the mask's area; and, where there are
        foreign objects, how well it is theirs.
        """
        found: dict[str, float] = {}
        for name in self.mix.names:
            rows = self.mix.held("test", name)
            truth = self.mix.labels(rows, "segmentations")[:, None] == FOREIGN
            real, made = self.mix.pictures(rows), self._made(rows)
            own = measure(real, made, truth)
            found |= {f"{name}/{key}": value for key, value in own.items()}
        return found

    @torch.no_grad()
    def _made(self, rows: Rows) -> dict[str, Tensor]:
        """The plain synthesis, the aligned one, the mask, and the blended picture."""
        samm, parts = self._supervised.average, []
        for real in torch.split(self.mix.pictures(rows), 16):
            found = self._aligned(samm, real, samm.cycles, len(samm.levels))
            with self.compute.autocast():
                w_plus = self.encoder(real).expand(-1, self.generator.num_ws, -1)
                plain = self.generator.synthesis(w_plus).float()
            mask = found.mask()
            blended = torch.lerp(found.synth, real, mask)
            parts.append({"plain": plain, "aligned": found.synth, "mask": mask, "blended": blended})
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def sheet(self) -> Tensor:
        """Held-out pictures of the last set; below them what the latents give, the masks, and the
        blended pictures.
        """
        name = self.mix.names[-1]
        rows = {name: self.mix.held("test", name)[name][:NUM_SHOWN]}
        made = self._made(rows)
        masks = (2 * made["mask"] - 1).expand(-1, 3, -1, -1)
        lines = (self.mix.pictures(rows), made["plain"], masks, made["blended"])
        return torch.cat([torch.cat(list(line), 2) for line in lines], 1).clamp(-1, 1)

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def networks(self) -> dict[str, nn.Module]:
        return {"samm": self._supervised.average}

    def _parts(self) -> dict[str, Any]:
        return {
            "supervised": self._supervised,
            "discriminator": self.discriminator,
            "discriminator_optimiser": self._judging,
        }


def gram_distance(told: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Maps [N, C, h, w] => the mean absolute difference of their Gram matrices over C h w, summed
    over maps.
    """
    parts = [(_gram(a) - _gram(b)).abs().mean() for a, b in zip(told, wanted, strict=True)]
    return torch.stack(parts).sum()


def _gram(x: Tensor) -> Tensor:
    rows = x.float().flatten(2)
    return rows @ rows.transpose(1, 2) / rows[0].numel()


def measure(real: Tensor, made: Mapping[str, Tensor], truth: Tensor) -> dict[str, float]:
    """real [N, 3, R, R], what was made of them, truth bool [N, 1, R, R] => means over pictures."""
    pictures = {"plain_psnr_db": "plain", "aligned_psnr_db": "aligned", "psnr_db": "blended"}
    found = {
        key: float(psnr_db(made[name].clamp(-1, 1), real).mean()) for key, name in pictures.items()
    }
    mask = made["mask"]
    found["ood_area"] = float(ood_area(mask).mean())
    if truth.any():
        found["true_area"] = float(truth.double().mean())
        found["iou"] = float(mask_iou(mask, truth.float()).nanmean())
        found["soft_iou"] = float(soft_iou(mask, truth.float()).nanmean())
        found["pooled_iou"] = pooled_iou(mask, truth.float())
    return found
