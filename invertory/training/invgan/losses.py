"""The terms of InvGAN's objective, on what one pass of its networks gave.

InvGAN: Invertable GANs, Ghosh et al., eq. 1 to 3. Where the paper is silent the choice is ours:
the non-saturating form of eq. 1; squares of latents as means over the latent; the wanted latent of
a latent term is held (else M and D make it small by making latents small); D is held where it
serves as the features f of eq. 2, and learns of L_fm through the codes that it infers.

Two things here are not as printed. Eq. 2 is the norm of an expectation, |E_x(f(x) - f(G(D(x))))|_p,
which a batch's mean image would satisfy; ours is the L1 of every element of every image, over
the target's mean magnitude, so that each image counts and deep maps count as shallow ones.
"pixels" (L1 of the image, its 4x4 means and its slopes) is no term of eq. 3: section 3.2 says of
pixels beside VGG's features that they often degrade quality, and takes D's features alone instead.
Weight 0 is the paper's (trainings/portraits_invgan_features.yaml).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invertory.encoders.invgan import Look
from invertory.training.adversarial import discriminator_loss, generator_loss
from invertory.training.invgan.config import InvGANConfig
from invertory.training.invgan.mmd import mmd
from invertory.training.stylegan2.autoencoding import feature_distance, reconstruction_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPass:
    """One pass: latents w_total = w_R # w made into images, and what D says."""

    real: Tensor  # x [B, 3, R, R]
    num_inferred: int  # of the batch: w_R of the first `real`; the rest is M(z)
    w: Tensor  # w_total [B, w_dim]
    prior: Tensor  # M(z) [B, w_dim], those in w_total among them
    compared: tuple[Tensor, Tensor] | None  # draws and codes [N, w_dim] for MMD, where it counts
    synth: Tensor  # G(w_total) [B, 3, R, R]
    real_look: Look  # of `real`
    frozen_look: Look  # of `synth`, D held
    synth_look: Look  # of `synth`, which is held


def mean_squared_distance(latents: Tensor, target: Tensor) -> Tensor:
    """|latents - wanted|^2 over the latents' length, a mean; `wanted` is held."""
    return (latents - target.detach()).square().mean()


def discriminator_terms(run: ForwardPass, realness: Tensor, synthness: Tensor) -> dict[str, Tensor]:
    """Of D: realness, and the latents of images whose latents are known, w # w_R."""
    return {
        "discriminator": discriminator_loss(realness, synthness),
        "latent": mean_squared_distance(run.synth_look.w, run.w),
    }


def generator_terms(run: ForwardPass, logits: Tensor, config: InvGANConfig) -> dict[str, Tensor]:
    """Of G (and M, and, in the full stage, of D by the codes it inferred); G held, of D alone."""
    if config.is_frozen:
        return reconstruction_terms(run)
    losses = {"generator": generator_loss(logits)}
    if run.compared is None:
        return losses
    n = run.num_inferred
    losses["latent_made"] = mean_squared_distance(run.frozen_look.w[n:], run.w[n:])
    losses |= reconstruction_terms(run)
    losses["mmd"] = mmd(*run.compared, config.mmd_scales)
    return losses


def reconstruction_terms(run: ForwardPass) -> dict[str, Tensor]:
    """What the codes of real images make, against those images and codes; D held."""
    n = run.num_inferred
    maps = [m[:n] for m in run.frozen_look.maps]
    target_maps = [m[:n].detach() for m in run.real_look.maps]
    return {
        "cycle": mean_squared_distance(run.frozen_look.w[:n], run.w[:n]),
        "features": feature_distance(maps, target_maps),
        "pixels": reconstruction_loss(run.synth[:n], run.real[:n]),
    }


def start_terms(synth: Tensor, real: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """Of the start as an autoencoder; half the codes' mean square is their divergence."""
    return {
        "start_pixels": reconstruction_loss(synth, real),
        "codes": codes.square().mean() / 2,
    }


def total(losses: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The weighted sum."""
    return torch.stack([weights[name] * loss.float() for name, loss in losses.items()]).sum()
