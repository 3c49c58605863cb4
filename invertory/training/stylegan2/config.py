"""Settings of a StyleGAN2 training: sizes, phases, loss weights, learning rates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleGAN2TrainingConfig:
    """Sizes, phases and weights; the defaults suit 64 px and about an hour on one CPU core.

    Raises ValueError for a joint phase without an autoencoder phase.
    """

    seed: int = 0
    images: int = 300_000  # of the whole training; the learning rate decays over the last fifth
    autoencoder_images: int = 60_000  # phase 1
    joint_images: int = 60_000  # phase 2
    batch_size: int = 32
    held_out: int = 1_000  # the last rows of the data
    # multiples of 32, which CPUs' bfloat16 units compute as fast as 24
    channels: tuple[int, ...] = (128, 128, 96, 64, 32)  # at 4, 8, ... px
    discriminator_channels: tuple[int, ...] = (128, 128, 96, 64, 32)
    encoder_channels: tuple[int, ...] = (32, 64, 96, 128, 128)  # at 64, 32, ... 4 px
    w_dim: int = 128
    mapping_layers: int = 8  # for the plain schedule; with an autoencoder it is 1
    noise: bool = False  # per-pixel noise inputs with a learnt strength
    light: bool = True  # the discriminator downsamples by means
    flips: bool = False
    learning_rate: float = 2e-3
    discriminator_rate: float = 2e-3
    mapping_rate: float = 0.01  # times the learning rate
    encoder_rate: float = 0.5  # times the learning rate
    r1_gamma: float = 0.5
    r1_every: int = 16
    path_weight: float = 0.0  # 2 in the paper
    path_every: int = 8
    mixing: float = 0.5  # share of draws with two latents
    joint_share: float = 0.5  # share of reconstructions in a batch of phase 2
    final_share: float = 0.125  # share in phase 3
    pixel_weight: float = 4.0  # reconstruction of pixels, relative to the adversarial loss
    feature_weight: float = 1.0  # reconstruction of the discriminator's features
    code_weight: float = 0.03  # half the mean square of codes, the divergence from N(0, I)
    latent_noise: float = (
        1.0  # standard deviation of noise on codes, so that intermediate codes give images too
    )
    augment_target: float = 0.0  # adaptive augmentation: target sign(D(real)); 0: off, usually 0.6
    augment_images: int = 100_000  # for the strength to increase from 0 to 1
    average_images: int = 10_000  # half-life of the average of weights

    def __post_init__(self) -> None:
        for name in ("channels", "discriminator_channels", "encoder_channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.joint_images and not self.autoencoder_images:
            raise ValueError(
                "expected autoencoder_images before joint_images, got none: set both or neither"
            )

    @property
    def has_encoder(self) -> bool:
        return self.autoencoder_images > 0

    def share(self, images: int) -> float:
        """Share of reconstructions in the batch."""
        if not self.has_encoder:
            return 0.0
        if images < self.autoencoder_images:
            return 1.0
        is_joint = images < self.autoencoder_images + self.joint_images
        return self.joint_share if is_joint else self.final_share

    def rate(self, images: int) -> float:
        """Factor of the learning rates: an increase, then 1, then a decrease to 0.05.

        It restarts in each phase, because Adam's second moments must adapt to the scale of the new
        gradients.
        """
        starts = (0, self.autoencoder_images, self.autoencoder_images + self.joint_images)
        since = images - max(start for start in starts if start <= images)
        left = (self.images - images) / (0.2 * self.images)
        return min(1.0, 0.02 + since / 4_000) * min(1.0, max(0.05, left))
