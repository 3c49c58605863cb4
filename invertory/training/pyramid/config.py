"""Settings of the trainers of the pSp family."""

from __future__ import annotations

from dataclasses import dataclass

from invertory.encoders.pyramid import Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidEncoderConfig:
    """Settings of a run of pSp's trainer; weights are the paper's for faces."""

    images: int = 800_000
    batch_size: int = 8
    learning_rate: float = 1e-4
    warm_up: float = 0.02  # share of `images` over which the rate rises
    weight_decay: float = 0.0
    half_life_images: float = 1_000
    mse_weight: float = 1.0
    perceptual_weight: float = 0.8
    identity_weight: float = 0.1  # without a classifier there is no such loss
    w_norm_weight: float = 0.0  # 0.005 for other things than faces
    mirror: bool = True
    held_out: int = 256  # the last images
    backbone: Backbone = "small"
    resolution: int = 0  # px that the encoder sees; 0: the images', 16 at the least
    widths: tuple[int, ...] = ()  # none: the backbone's usual ones
    style_width: int = 0  # 0: the backbone's usual one
    pyramid_width: int = 0  # 0: that of the backbone's last map
    num_styles: int = 0  # heads; 0: one a row
    image_px: int = 0  # at which images are compared; 0: the images'
    image_pictures: int = 0  # of each batch, which pictures are made of; 0: all
    latent_weight: float = 0.0  # of the others' known latents, of all's where images are of all
    alter: float = 0.0  # of those that images are made of: shifts, zoom and colour; 1: as drawn
    grain: float = 0.0  # most deviation of the noise on what the encoder sees
    w_samples: int = 4096  # for mean and deviation of w
    seed: int = 0
