"""Settings of SAMM's training, and the differences between paper and code.

Yang, Xu and Chen 2023, https://arxiv.org/abs/2212.09262, eq. 5 to 9, and the published code:

                           paper             code
    identity               1                 0.1
    Gram matrices          -                 50
    adversarial            1                 0.5
    area above its limit   1                 5
    limits, coarse to fine 0.3 0.3 0.25 0.25 0.3 0.3 0.2 0.2
    limit of combined mask -                 0.2

The limits are those of 32, 64, 128, 256 px, here by level; as in the code they apply to the mean
over a batch, so that images with large foreign objects can use the allowance of others. Eq. 7 has a
misprinted sign: area above the limit is the loss. The paper does not give the weight of eq. 6; both
presets use the code's. `preset` also selects how masks are refined (see
invertory/networks/samm/network.py).

The code's Gram matrices are of raw VGG19 maps; ours are of the features of `perceptual`, which have
unit length in LPIPS and FeatureDistance, so a weight of 50 has a different effect. The bundled
weights were trained without this term and without a discriminator (trainings/portraits_samm.yaml).

Warps act only where a level's mask is high, while the finest level determines the combined mask:
limits of coarse levels near 1 allow alignment of the in-domain area. Masks start near their limits,
and the limit of the combined mask applies once all levels are active. `known_warps` and
`known_rate` are our own (see known_warps.py); 0 is as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from invertory.networks.samm.layers import Preset
from invertory.networks.samm.network import NUM_LEVELS, Alignment


class LossWeights(NamedTuple):
    """Weights and limits that differ between paper and code."""

    identity: float
    gram: float
    adversarial: float
    area: float
    areas: tuple[float, ...]  # area limits by level, coarse to fine
    gathered_area: float | None


PRESETS: Final[dict[Preset, LossWeights]] = {
    "paper": LossWeights(1.0, 0.0, 1.0, 1.0, (0.3, 0.3, 0.25, 0.25), None),
    "code": LossWeights(0.1, 50.0, 0.5, 5.0, (0.3, 0.3, 0.2, 0.2), 0.2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SammConfig:
    """Settings of a run; weights that are None are the preset's."""

    preset: Preset = "code"
    alignment: Alignment = "full"  # none: never warp, neither in training nor afterwards
    num_levels: int = NUM_LEVELS
    cycles: tuple[int, ...] = (2,)  # each step draws one of these; the first is the network's
    narrowing: int = 2
    images: int = 100_000
    batch_size: int = 16
    learning_rate: float = 1e-3
    warm_up: float = 0.02
    weight_decay: float = 0.0
    half_life_images: float = 1_000
    known_warps: float = 0.0  # share of the run for the initial phase of known_warps.py
    known_rate: float = 3e-3  # learning rate of the initial phase
    levels_by: float = 0.2  # share of the run after which all levels are active
    mse_weight: float = 1.0
    perceptual_weight: float = 1.0
    identity_weight: float | None = None
    gram_weight: float | None = None
    adversarial_weight: float | None = None
    adversarial_from: float = 0.0  # share of the run after which the discriminator is used
    discriminator_rate: float = 1e-4
    r1_gamma: float = 0.0  # off in the code
    r1_every: int = 16
    binary_weight: float = 0.2  # lambda_1
    area_weight: float | None = None
    areas: tuple[float, ...] | None = None
    gathered_area: float | None = None
    mirror: bool = True
    shares: tuple[float, ...] = (1.0,)  # shares of the sets in a batch
    held_out: int = 128  # rows of each set, twice
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("cycles", "areas", "shares"):  # YAML and JSON have only lists
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else tuple(value))
        if not self.cycles or min(self.cycles) < 1:
            raise ValueError(f"expected numbers of cycles from 1, got {list(self.cycles)}")

    @property
    def num_known(self) -> int:
        """Steps of the initial phase; 0 without alignment."""
        images = self.known_warps * self.images if self.alignment == "full" else 0
        return int(images / self.batch_size)

    @property
    def weights(self) -> LossWeights:
        """The preset's weights with the configured overrides."""
        preset = PRESETS[self.preset]
        overrides: dict[str, Any] = {
            "identity": self.identity_weight,
            "gram": self.gram_weight,
            "adversarial": self.adversarial_weight,
            "area": self.area_weight,
            "areas": self.areas,
            "gathered_area": self.gathered_area,
        }
        return preset._replace(**{k: v for k, v in overrides.items() if v is not None})

    def limits(self, num_levels: int) -> tuple[float, ...]:
        """Area limits by level, coarse to fine; the preset's are cut to the finest levels.

        Raises ValueError unless there is an area from 0 to 1 for each level.
        """
        areas = self.weights.areas if self.areas else self.weights.areas[-num_levels:]
        if len(areas) != num_levels or not all(0 <= area <= 1 for area in areas):
            raise ValueError(
                f"expected an area from 0 to 1 for each of {num_levels} levels, coarse to fine, "
                f"got {list(areas)}"
            )
        return areas
