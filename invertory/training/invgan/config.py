"""The settings of an InvGAN training: backbone, stage, sizes, weights of losses, rates.

The paper tells no weight, norm, bandwidth nor rate: all of them here are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from invertory.training.invgan.mmd import SCALES

STAGES = ("naive", "augmented", "full", "afterwards")
BACKBONES = ("stylegan2", "biggan", "dcgan")


@dataclass(frozen=True, slots=True, kw_only=True)
class InvGANConfig:
    """Sizes, phases and weights; the defaults are for portraits of 64 px on one CPU core.

    `stage` is a preset over the weights (section 4.4): it switches off what it does not have.
    naive: |M(z) - w~|^2 alone, and D alone learns of it. augmented: codes of real images in the
    generator's batch, too. full: the generator's losses reach D through those codes; features,
    pixels, the cycle and MMD count. The paper has no pixels (`pixel_weight` 0): section 3.2 argues
    against them beside features, and takes D's maps alone.

    afterwards is ours, the control of "joint": G and M are held, as they were given, and D's trunk
    and latent head alone learn, by full's latent, cycle, feature and pixel terms. What serves G's
    draws is left out, the adversary through the codes and MMD. So it is no ablation of one factor:
    its images may be nearer and look less real for that, too.
    """

    stage: Literal["naive", "augmented", "full", "afterwards"] = "full"
    backbone: Literal["stylegan2", "biggan", "dcgan"] = "stylegan2"
    seed: int = 0
    images: int = 45_000  # of the whole training: the learning rate falls over its last fifth
    start_images: int = 20_000  # of either start, alike in all stages
    batch_size: int = 16  # so small a budget is better spent on steps
    held_out: int = 1_000  # last rows of the data
    patch_px: int = 0  # train on random patches of this size (section 4.3); 0: on whole images
    grey: bool = False  # one channel, told as three; not for stylegan2
    channels: tuple[int, ...] = (96, 96, 64, 48, 32)  # of G at 4, 8, ... px; dcgan: not of the last
    discriminator_channels: tuple[int, ...] = (96, 96, 64, 48, 32)  # stylegan2: from R px, others
    # from R/2 px; the first is that at 4 px
    w_dim: int = 128
    mapping_layers: int = 8  # of stylegan2; the others have 2
    head_narrow: int = 32  # channels of the 4 px map before the head's linear layers
    head_hidden: int = 256
    flips: bool = False
    inferred_share: float = 0.5  # of codes of real images in the generator's batch
    learning_rate: float = 2e-3
    joint_rate: float = 0.5  # times the rates, once the start is over: codes must not outrun M
    discriminator_rate: float = 1.0  # times the learning rate
    mapping_rate: float = 1.0  # times the learning rate; it must follow the codes
    head_rate: float = 0.5  # times the learning rate
    trunk_rate: float = 0.25  # warm start, until it is over: of D's trunk, times its rate
    r1_gamma: float = 0.5
    r1_every: int = 16
    adversarial_weight: float = 1.0
    latent_weight: float = 0.5  # of |M(z) - w~|^2, a mean over the latent
    cycle_weight: float = 0.5  # of |w~ - E(G(w~))|^2, a mean over the latent
    feature_weight: float = 2.0  # of L_fm, relative to the features' magnitude
    pixel_weight: float = 4.0  # ours: the image itself as a feature; 0: as printed
    mmd_weight: float = 10.0
    mmd_memory: int = 0  # codes of the batches before, held, beside the batch's; as many draws
    prior_images: float = 0.0  # full, after the start: M is kept at the codes' Gaussian, that
    # forgets half in so many images; 0: M learns by gradient, of MMD and the adversary
    mmd_scales: tuple[float, ...] = SCALES  # sigma^2 of the kernels, over the median
    start_pixel_weight: float = 4.0
    code_weight: float = 0.03  # start: of half the codes' mean square
    latent_noise: float = 1.0  # start: deviation, on codes
    augment_target: float = 0.0  # adaptive augmentation: sign(D(real)) to hold; 0 is off
    augment_images: int = 100_000  # that the strength takes from 0 to 1
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
        """Codes of real images are in the generator's batch."""
        return self.stage != "naive"

    @property
    def is_joint(self) -> bool:
        """The generator's losses reach D through the codes."""
        return self.stage == "full"

    @property
    def is_frozen(self) -> bool:
        """G and M are held: an encoder is added to a finished generator."""
        return self.stage == "afterwards"

    @property
    def has_reconstruction(self) -> bool:
        """What G makes of the codes of real images is held against those images."""
        return self.is_joint or self.is_frozen

    @property
    def follows_prior(self) -> bool:
        """M is kept at the Gaussian of the codes."""
        return self.is_joint and self.prior_images > 0

    @property
    def weights(self) -> dict[str, float]:
        """Of each loss, of the start and of what follows."""
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
        """Factor of the learning rates: a rise in each phase, then 1, then a fall to 0.05."""
        since = images - self.start_images if images >= self.start_images else images
        left = (self.images - images) / (0.2 * self.images)
        top = self.joint_rate if images >= self.start_images else 1.0
        return top * min(1.0, 0.02 + since / 2_000) * min(1.0, max(0.05, left))


def _check_word(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"expected a {name} among {', '.join(known)}, got {value!r}")
