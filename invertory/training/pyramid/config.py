"""Settings of the trainers of the pSp family."""

from __future__ import annotations

from dataclasses import dataclass

from invertory.encoders.pyramid import Backbone


@dataclass(frozen=True, slots=True, kw_only=True)
class PyramidEncoderConfig:
    """Settings of pSp's trainer; the weights are the paper's for faces."""

    images: int = 800_000
    batch_size: int = 8
    learning_rate: float = 1e-4
    warm_up: float = 0.02  # share of `images` over which the rate increases
    weight_decay: float = 0.0
    half_life_images: float = 1_000
    mse_weight: float = 1.0
    perceptual_weight: float = 0.8
    identity_weight: float = 0.1  # ignored without a classifier
    w_norm_weight: float = 0.0  # 0.005 in the paper for domains other than faces
    mirror: bool = True
    held_out: int = 256  # the last images
    backbone: Backbone = "small"
    resolution: int = 0  # input size of the encoder, px; 0: that of the images, at least 16
    widths: tuple[int, ...] = ()  # empty: the backbone's defaults
    style_width: int = 0  # 0: the backbone's default
    pyramid_width: int = 0  # 0: that of the backbone's last map
    num_styles: int = 0  # heads; 0: one per row
    image_px: int = 0  # size at which images are compared; 0: that of the images
    image_pictures: int = 0  # images of each batch that are synthesised; 0: all
    latent_weight: float = 0.0  # of known latents, for images not synthesised (or all)
    alter: float = 0.0  # strength of shifts, zoom and colour of synthesised images
    grain: float = 0.0  # largest standard deviation of the noise on the encoder's input
    w_samples: int = 4096  # for mean and deviation of w
    seed: int = 0
