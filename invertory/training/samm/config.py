"""Settings of a training of SAMM, and what print and code of the paper differ in.

Yang, Xu and Chen 2023, https://arxiv.org/abs/2212.09262, eq. 5 to 9, and the published code:

                           paper             code
    identity               1                 0.1
    Gram matrices          -                 50
    adversarial            1                 0.5
    area beyond its limit  1                 5
    limits, coarse to fine 0.3 0.3 0.25 0.25 0.3 0.3 0.2 0.2
    limit of all gathered  -                 0.2

The limits are those of 32, 64, 128, 256 px, here by level; as in the code they hold for the mean
over a batch, so that images with much that is foreign may take from those with nothing. Eq. 7 has
a sign misprinted: what lies beyond the limit is a loss. The weight of eq. 6 is not printed; both
have the code's. `preset` also says how masks are refined (see invertory/networks/samm/network.py).

The code's Gram matrices are of raw VGG19 maps; ours are of what `perceptual` hands out, vectors of
unit length in LPIPS and FeatureDistance. So a weight of 50 means another thing here, as the maps'
sizes have gone. The bundled weights were trained without this term and without a
discriminator (trainings/portraits_samm.yaml).

Warps act only where a level's mask is high, while of the gathered mask the finest level decides:
limits of coarse levels near 1 let the in-domain area be aligned. Masks begin near their limits, and
the limit of all gathered holds once every level takes part. `known_warps` and `known_rate` are ours
(see samm_known_warps.py); 0 is as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from invertory.networks.samm.layers import Preset
from invertory.networks.samm.network import NUM_LEVELS, Alignment


class LossWeights(NamedTuple):
    """What print and code differ in."""

    identity: float
    gram: float
    adversarial: float
    area: float
    areas: tuple[float, ...]  # limits by level, coarse to fine
    gathered_area: float | None


PRESETS: Final[dict[Preset, LossWeights]] = {
    "paper": LossWeights(1.0, 0.0, 1.0, 1.0, (0.3, 0.3, 0.25, 0.25), None),
    "code": LossWeights(0.1, 50.0, 0.5, 5.0, (0.3, 0.3, 0.2, 0.2), 0.2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SammConfig:
    """Settings of a run; weights that are none are the preset's."""

    preset: Preset = "code"
    alignment: Alignment = "full"  # none: nothing is warped, in training and ever after
    num_levels: int = NUM_LEVELS
    cycles: tuple[int, ...] = (2,)  # of several, each step draws one; the first is the network's
    narrowing: int = 2
    images: int = 100_000
    batch_size: int = 16
    learning_rate: float = 1e-3
    warm_up: float = 0.02
    weight_decay: float = 0.0
    half_life_images: float = 1_000
    known_warps: float = 0.0  # share of the run that goes to the start of samm_known_warps.py
    known_rate: float = 3e-3  # learning rate of that
    levels_by: float = 0.2  # share of the run after which all levels take part
    mse_weight: float = 1.0
    perceptual_weight: float = 1.0
    identity_weight: float | None = None
    gram_weight: float | None = None
    adversarial_weight: float | None = None
    adversarial_from: float = 0.0  # share of the run
    discriminator_rate: float = 1e-4
    r1_gamma: float = 0.0  # the code has it off
    r1_every: int = 16
    binary_weight: float = 0.2  # lambda_1
    area_weight: float | None = None
    areas: tuple[float, ...] | None = None
    gathered_area: float | None = None
    mirror: bool = True
    shares: tuple[float, ...] = (1.0,)  # of the sets in a batch
    held_out: int = 128  # rows of each set, twice
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("cycles", "areas", "shares"):  # YAML and JSON have lists
            value = getattr(self, name)
            object.__setattr__(self, name, value if value is None else tuple(value))
        if not self.cycles or min(self.cycles) < 1:
            raise ValueError(f"expected numbers of cycles from 1, got {list(self.cycles)}")

    @property
    def num_known(self) -> int:
        """Steps of the start; none where nothing is warped."""
        images = self.known_warps * self.images if self.alignment == "full" else 0
        return int(images / self.batch_size)

    @property
    def weights(self) -> LossWeights:
        """The preset's, less those that were given."""
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
        """Areas by level, coarse to fine; the preset's are cut to the finest levels."""
        areas = self.weights.areas if self.areas else self.weights.areas[-num_levels:]
        if len(areas) != num_levels or not all(0 <= area <= 1 for area in areas):
            raise ValueError(
                f"expected an area from 0 to 1 for each of {num_levels} levels, coarse to fine, "
                f"got {list(areas)}"
            )
        return areas
