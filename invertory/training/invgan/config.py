"""Settings of an InvGAN training: backbone, stage, sizes, loss weights, learning rates.

The paper gives no weights, norms, bandwidths or rates; all of these are our choice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from invertory.training.invgan.mmd import SCALES

STAGES = ("naive", "augmented", "full", "afterwards")
BACKBONES = ("stylegan2", "biggan", "dcgan")


@dataclass(frozen=True, slots=True, kw_only=True)
class InvGANConfig:
    """Sizes, phases and weights; the defaults suit portraits of 64 px on one CPU core.

    `stage` is a preset over the weights (section 4.4) that disables terms. naive: only |M(z) -
    w~|^2, which only D learns. augmented: additionally, codes of real images are part of the
    generator's batch. full: the generator's losses reach D through these codes, and the feature,
    pixel, cycle and MMD terms are active. The paper has no pixel term (`pixel_weight` 0): section
    3.2 argues against pixels beside features, and uses D's maps only.

    afterwards is our control for joint training: given G and M stay frozen, and only D's trunk and
    latent head learn, with full's latent, cycle, feature and pixel terms. Terms that serve G's
    draws, the adversarial loss through codes and MMD, are omitted. It is therefore not an ablation
    of a single factor: its images can be closer and less realistic for this reason as well. Raises
    ValueError for inconsistent settings.
    """

    stage: Literal["naive", "augmented", "full", "afterwards"] = "full"
    backbone: Literal["stylegan2", "biggan", "dcgan"] = "stylegan2"
    seed: int = 0
    images: int = 45_000  # of the whole training; the learning rate decays over the last fifth
    start_images: int = 20_000  # of the initial phase, equal in all stages
    batch_size: int = 16  # small, since small budgets are better spent on steps
    held_out: int = 1_000  # the last rows of the data
    patch_px: int = 0  # train on random patches of this size (section 4.3); 0: whole images
    grey: bool = False  # one channel, repeated to three; not for stylegan2
    channels: tuple[int, ...] = (96, 96, 64, 48, 32)  # of G at 4, 8, ... px; dcgan: not the last
    # from 4 px up to R px (stylegan2) or R/2 px (others)
    discriminator_channels: tuple[int, ...] = (96, 96, 64, 48, 32)
    w_dim: int = 128
    mapping_layers: int = 8  # for stylegan2; the others have 2
    head_narrow: int = 32  # channels at 4 px before the linear layers of the head
    head_hidden: int = 256
    flips: bool = False
    inferred_share: float = 0.5  # share of codes of real images in the generator's batch
    learning_rate: float = 2e-3
    joint_rate: float = (
        0.5  # factor of all rates after the initial phase, so that M keeps up with the codes
    )
    discriminator_rate: float = 1.0  # times the learning rate
    mapping_rate: float = 1.0  # times the learning rate; M must follow the codes
    head_rate: float = 0.5  # times the learning rate
    trunk_rate: float = 0.25  # factor of D's trunk rate during a warm start
    r1_gamma: float = 0.5
    r1_every: int = 16
    adversarial_weight: float = 1.0
    latent_weight: float = 0.5  # |M(z) - w~|^2, a mean over the latent
    cycle_weight: float = 0.5  # |w~ - E(G(w~))|^2, a mean over the latent
    feature_weight: float = 2.0  # L_fm, relative to the magnitude of the features
    pixel_weight: float = 4.0  # our pixel term; 0: as in the paper
    mmd_weight: float = 10.0
    mmd_memory: int = 0  # earlier codes, detached, added to the batch's, with as many draws
    prior_images: float = 0.0  # full, after the initial phase: M follows the Gaussian of the
    # codes with this half-life; 0: M learns by gradient, from MMD and the adversarial loss
    mmd_scales: tuple[float, ...] = SCALES  # sigma^2 of the kernels, relative to the median
    start_pixel_weight: float = 4.0
    code_weight: float = 0.03  # initial phase: half the mean square of codes
    latent_noise: float = 1.0  # initial phase: standard deviation of noise on codes
    augment_target: float = 0.0  # adaptive augmentation: target sign(D(real)); 0: off
    augment_images: int = 100_000  # for the strength to increase from 0 to 1
    average_images: int = 5_000  # half-life of the average of weights

    def __post_init__(self) -> None:
        for name in ("channels", "discriminator_channels", "mmd_scales"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _check_word("stage", self.stage, STAGES)
        _check_word("backbone", self.backbone, BACKBONES)
        if not 0 < self.inferred_share < 1 or self.batch_size < 4:
            raise ValueError(
                "expected an inferred_share between 0 and 1 and batches of 4 or more, got "
                f"{self.inferred_share} and {self.batch_size}"
            )
        if self.mmd_memory < 0 or self.prior_images < 0:
            raise ValueError(
                "expected mmd_memory and prior_images of 0 or more, got "
                f"{self.mmd_memory} and {self.prior_images}"
            )
        if self.grey and self.backbone == "stylegan2":
            raise ValueError("expected backbone dcgan or biggan for grey, got stylegan2")

    @property
    def has_inferred(self) -> bool:
        """Whether codes of real images are part of the generator's batch."""
        return self.stage != "naive"

    @property
    def is_joint(self) -> bool:
        """Whether the generator's losses reach D through the codes."""
        return self.stage == "full"

    @property
    def is_frozen(self) -> bool:
        """Whether G and M are frozen: an encoder is added to a finished generator."""
        return self.stage == "afterwards"

    @property
    def has_reconstruction(self) -> bool:
        """Whether G's reconstructions of real images are compared with these images."""
        return self.is_joint or self.is_frozen

    @property
    def follows_prior(self) -> bool:
        """Whether M is set to the Gaussian of the codes at each step."""
        return self.is_joint and self.prior_images > 0

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each loss, of the initial phase and of the main phase."""
        return {
            "start_pixels": self.start_pixel_weight,
            "codes": self.code_weight,
            "generator": self.adversarial_weight,
            "discriminator": self.adversarial_weight,
            "r1": self.r1_every * self.r1_gamma / 2,
            "latent": self.latent_weight,
            "latent_made": self.latent_weight,
            "cycle": self.cycle_weight,
            "features": self.feature_weight,
            "pixels": self.pixel_weight,
            "mmd": self.mmd_weight,
        }

    @property
    def start_steps(self) -> int:
        return -(-self.start_images // self.batch_size)

    def rate(self, images: int) -> float:
        """Factor of the learning rates: an increase in each phase, then 1, then a decay to 0.05."""
        since = images - self.start_images if images >= self.start_images else images
        left = (self.images - images) / (0.2 * self.images)
        top = self.joint_rate if images >= self.start_images else 1.0
        return top * min(1.0, 0.02 + since / 2_000) * min(1.0, max(0.05, left))


def _check_word(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"expected a {name} among {', '.join(known)}, got {value!r}")
