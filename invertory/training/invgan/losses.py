"""The terms of InvGAN's objective, computed from one forward pass of its networks.

InvGAN: Invertable GANs, Ghosh et al., eq. 1 to 3. Where the paper is silent, the choice is ours:
eq. 1 is non-saturating; squared distances of latents are means over the latent; the target latent
of a latent term is detached (otherwise M and D would shrink latents); D is frozen where it provides
the features f of eq. 2, and learns from L_fm through the codes that it infers.

Two terms differ from the paper. Eq. 2 is the norm of an expectation, |E_x(f(x) - f(G(D(x))))|_p,
which matching batch means would minimise; ours is the L1 distance per element of every image,
relative to the target's mean magnitude, so that each image counts and deep maps count as much as
shallow ones. "pixels" (L1 of the image, its 4x4 means and its gradients) is no term of eq. 3:
according to section 3.2, pixels beside VGG's features often degrade quality, and the paper uses
only D's features. Weight 0 is the paper's (trainings/portraits_invgan_features.yaml).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invertory.encoders.invgan import DiscriminatorOutput
from invertory.training.adversarial import discriminator_loss, generator_loss
from invertory.training.invgan.config import InvGANConfig
from invertory.training.invgan.mmd import mmd
from invertory.training.stylegan2.autoencoding import feature_distance, reconstruction_loss


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwardPass:
    """One forward pass: latents w_total = w_R # w, their images, and D's outputs."""

    real: Tensor  # x [B, 3, R, R]
    num_inferred: int  # w_R of the first `real`; the rest of the batch is M(z)
    w: Tensor  # w_total [B, w_dim]
    prior: Tensor  # M(z) [B, w_dim], including those in w_total
    compared: tuple[Tensor, Tensor] | None  # draws and codes [N, w_dim] for MMD, if active
    synth: Tensor  # G(w_total) [B, 3, R, R]
    real_look: DiscriminatorOutput  # D on `real`
    frozen_look: DiscriminatorOutput  # D frozen, on `synth`
    synth_look: DiscriminatorOutput  # D on detached `synth`


def mean_squared_distance(latents: Tensor, target: Tensor) -> Tensor:
    """latents - target|^2, a mean over the latent and the batch; `target` is detached."""
    return (latents - target.detach()).square().mean()


def discriminator_terms(run: ForwardPass, realness: Tensor, synthness: Tensor) -> dict[str, Tensor]:
    """Losses of D: realness, and the latents of synthesised images, w # w_R."""
    return {
        "discriminator": discriminator_loss(realness, synthness),
        "latent": mean_squared_distance(run.synth_look.w, run.w),
    }


def generator_terms(run: ForwardPass, logits: Tensor, config: InvGANConfig) -> dict[str, Tensor]:
    """Losses of G, M and, in the full stage, of D through its codes; if G is frozen, of D only."""
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
    """Reconstructions from codes of real images, against these images and codes; D is frozen.

    cycle: |w~ - E(G(w~))|^2; features: L_fm (eq. 2); pixels: our own.
    """
    n = run.num_inferred
    maps = [m[:n] for m in run.frozen_look.maps]
    target_maps = [m[:n].detach() for m in run.real_look.maps]
    return {
        "cycle": mean_squared_distance(run.frozen_look.w[:n], run.w[:n]),
        "features": feature_distance(maps, target_maps),
        "pixels": reconstruction_loss(run.synth[:n], run.real[:n]),
    }


def start_terms(synth: Tensor, real: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """Losses of the initial autoencoder; half the mean square of codes is their divergence."""
    return {
        "start_pixels": reconstruction_loss(synth, real),
        "codes": codes.square().mean() / 2,
    }


def total(losses: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The weighted sum of the losses."""
    return torch.stack([weights[name] * loss.float() for name, loss in losses.items()]).sum()
