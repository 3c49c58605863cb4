"""The losses of SAMM: eq. 5 to 8 of Yang, Xu and Chen 2023, https://arxiv.org/abs/2212.09262.

See config.py for the differences between paper and code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, relu

from invertory.training.adversarial import generator_loss
from invertory.training.compute import Compute
from invertory.training.samm.config import SammConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invertory.networks.classifier import AttributeClassifier
    from invertory.networks.samm.network import Aligned
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class SammLosses:
    """The losses of an aligned synthesis and its masks."""

    config: SammConfig
    areas: tuple[float, ...]  # limits by level, coarse to fine
    perceptual: Perceptual
    classifier: AttributeClassifier | None  # for the identity term
    discriminator: nn.Module | None
    compute: Compute

    def __call__(self, aligned: Aligned, real: Tensor, *, is_judged: bool) -> dict[str, Tensor]:
        """Unweighted terms of eq. 5 to 8; real [N, 3, R, R] in [-1, 1]."""
        weights, mask = self.config.weights, aligned.mask()
        blended = torch.lerp(aligned.synth, real, mask)
        losses = {"mse": (blended - real).square().mean()}
        with self.compute.autocast():
            synth_features, real_features = self.perceptual.features(blended), self._features(real)
            losses["perceptual"] = self.perceptual.distance(synth_features, real_features).mean()
            if weights.identity and self.classifier is not None:
                synth_embedding, real_embedding = (
                    self.classifier.embedding(x).float() for x in (blended, real)
                )
                losses["identity"] = 1 - cosine_similarity(synth_embedding, real_embedding).mean()
            if is_judged and self.discriminator is not None:
                losses["adversarial"] = generator_loss(self.discriminator(aligned.synth))
        if weights.gram:
            losses["gram"] = gram_distance(synth_features, real_features)
        masks = torch.stack([torch.minimum(m, 1 - m).mean() for m in aligned.masks])
        losses["binary"] = masks.sum()  # eq. 6: sum over levels of mean min(M, 1 - M)
        losses["area"] = self._area_loss(aligned.masks, mask)
        return losses

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """The weighted sum of the losses."""
        config, weights = self.config, self.config.weights
        by_name = {
            "mse": config.mse_weight,
            "perceptual": config.perceptual_weight,
            "identity": weights.identity,
            "adversarial": weights.adversarial,
            "gram": weights.gram,
            "binary": config.binary_weight,
            "area": weights.area,
        }
        return torch.stack([by_name[name] * loss for name, loss in losses.items()]).sum()

    @torch.no_grad()
    def _features(self, real: Tensor) -> list[Tensor]:
        return self.perceptual.features(real)

    def _area_loss(self, masks: Sequence[Tensor], gathered: Tensor) -> Tensor:
        """Eq. 7, relu(mean(M) - phi), summed over the active levels and the combined mask.

        The limit of the combined mask applies only once all levels are active, since coarse levels
        may have larger areas.
        """
        weights = self.config.weights
        losses = [relu(m.mean() - limit) for m, limit in zip(masks, self.areas, strict=False)]
        if weights.gathered_area is not None and len(masks) == len(self.areas):
            losses.append(relu(gathered.mean() - weights.gathered_area))
        return torch.stack(losses).sum()


def gram_distance(synth: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Maps [N, C, h, w] => mean absolute difference of Gram matrices / (C h w), summed."""
    distances = [(_gram(a) - _gram(b)).abs().mean() for a, b in zip(synth, target, strict=True)]
    return torch.stack(distances).sum()


def _gram(x: Tensor) -> Tensor:
    rows = x.float().flatten(2)
    return rows @ rows.transpose(1, 2) / rows[0].numel()
