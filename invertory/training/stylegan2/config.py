"""The settings of a StyleGAN2 training: sizes, phases, weights of losses, rates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleGAN2TrainingConfig:
    """Sizes, phases and weights; the defaults are for 64 px and about an hour of one CPU core."""

    seed: int = 0
    images: int = 300_000  # of the whole training: the learning rate falls over its last fifth
    autoencoder_images: int = 60_000  # phase 1
    joint_images: int = 60_000  # phase 2
    batch_size: int = 32
    held_out: int = 1_000  # last rows of the data
    # multiples of 32: a CPU's bfloat16 units are as fast with 32 channels as with 24
    channels: tuple[int, ...] = (128, 128, 96, 64, 32)  # at 4, 8, ... px
    discriminator_channels: tuple[int, ...] = (128, 128, 96, 64, 32)
    encoder_channels: tuple[int, ...] = (32, 64, 96, 128, 128)  # at 64, 32, ... 4 px
    w_dim: int = 128
    mapping_layers: int = 8  # of the plain schedule; an autoencoder's prior needs 1
    noise: bool = False  # a noise input per pixel, with a trained strength
    light: bool = True  # discriminator that halves by means
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
    joint_share: float = 0.5  # of reconstructions in a batch of phase 2
    final_share: float = 0.125  # of phase 3
    pixel_weight: float = 4.0  # of reconstruction beside the adversarial loss
    feature_weight: float = 1.0  # of reconstruction in the discriminator's features
    code_weight: float = 0.03  # of half the codes' mean square, the divergence from N(0, I)
    latent_noise: float = 1.0  # deviation, on codes: what lies between them looks like an image too
    augment_target: float = 0.0  # adaptive augmentation: sign(D(real)) to hold; 0 is off, 0.6 usual
    augment_images: int = 100_000  # that the strength takes from 0 to 1
    average_images: int = 10_000  # half-life of the average of weights

    def __post_init__(self) -> None:
        for name in ("channels", "discriminator_channels", "encoder_channels"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.joint_images and not self.autoencoder_images:
            raise ValueError("expected autoencoder_images before joint_images, got none")

    @property
    def has_encoder(self) -> bool:
        return self.autoencoder_images > 0

    def share(self, images: int) -> float:
        """Of reconstructions in the batch."""
        if not self.has_encoder:
            return 0.0
        if images < self.autoencoder_images:
            return 1.0
        is_joint = images < self.autoencoder_images + self.joint_images
        return self.joint_share if is_joint else self.final_share

    def rate(self, images: int) -> float:
        """Factor of the learning rates: a rise, then 1, then a fall to 0.05.

        It rises anew in each phase: Adam's second moments must learn the new gradients' size first.
        """
        starts = (0, self.autoencoder_images, self.autoencoder_images + self.joint_images)
        since = images - max(start for start in starts if start <= images)
        left = (self.images - images) / (0.2 * self.images)
        return min(1.0, 0.02 + since / 4_000) * min(1.0, max(0.05, left))
