"""Adaptive augmentation of a discriminator's images, for small training sets.

Karras et al., "Training Generative Adversarial Networks with Limited Data", 2020,
https://arxiv.org/abs/2006.06676: random transforms of real and synthesised images do not leak into
the generator as long as each image is often left unchanged; their probability p follows the
discriminator's overfitting (section 3). Of the paper's transforms: mirror, quarter rotations,
translation, scale; brightness, contrast, saturation (appendix B).
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


class AugmentationSettings(Protocol):
    """The settings of a trainer that control augmentation."""

    @property
    def augment_target(self) -> float:
        """Target of the mean sign of logits of real images, r_t; 0: no augmentation."""
        ...

    @property
    def augment_images(self) -> int:
        """Images over which the strength can increase from 0 to 1."""
        ...

    @property
    def batch_size(self) -> int: ...


class AdaptiveAugmentation:
    """Augments a discriminator's images with adaptive strength."""

    def __init__(self, settings: AugmentationSettings, device: str) -> None:
        self.strength = torch.zeros((), device=device)  # in [0, 1], updated in place
        self._settings = settings

    def __call__(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Images [N, 3, H, W], augmented if there is a target."""
        return augment(x, self.strength, rng) if self._settings.augment_target else x

    def follow(self, on_real: Tensor) -> dict[str, Tensor]:
        """Adapt to the logits of real images; return values for the log."""
        sign = on_real.detach().float().sign().mean()
        if not self._settings.augment_target:
            return {"sign_real": sign}
        adapt(
            self.strength,
            sign,
            target=self._settings.augment_target,
            batch_size=self._settings.batch_size,
            ramp_images=self._settings.augment_images,
        )
        return {"sign_real": sign, "augment": self.strength.clone()}


def augment(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Images [N, 3, H, W]; each transform has probability `strength` (scalar in [0, 1])."""
    return _recolour(_move(x, strength, rng), strength, rng)


def adapt(
    strength: Tensor, sign_real: Tensor, *, target: float, batch_size: int, ramp_images: int
) -> None:
    """Move `strength` in place towards a mean sign of real logits of `target`.

    p <- p + sign(r_t - target) * batch_size / ramp_images, so p can go from 0 to 1 within
    `ramp_images` images.
    """
    change = torch.sign(sign_real.float() - target) * (batch_size / ramp_images)
    strength.add_(change).clamp_(0, 1)


def _move(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    """Mirror, rotate, scale and shift; positions outside the image are mirrored."""
    n, device = len(x), x.device

    def gate() -> Tensor:
        return (torch.rand(n, generator=rng, device=device) < strength).float()

    def normal() -> Tensor:
        return torch.randn(n, generator=rng, device=device)

    def whole(k: int) -> Tensor:
        return torch.randint(k, (n,), generator=rng, device=device).float()

    mirror = 1 - 2 * whole(2) * gate()
    turn = whole(4) * gate() * (math.pi / 2)
    scale = torch.exp2(0.2 * normal() * gate())
    shift = torch.stack([0.25 * normal() * gate() for _ in range(2)], 1)  # 1/8 of the size
    cos, sin = turn.cos() * scale, turn.sin() * scale
    rows = torch.stack([cos * mirror, -sin, sin * mirror, cos], 1).view(n, 2, 2)
    grid = affine_grid(torch.cat([rows, shift[:, :, None]], 2), list(x.shape), align_corners=False)
    return grid_sample(x.float(), grid, padding_mode="reflection", align_corners=False)


def _recolour(x: Tensor, strength: Tensor, rng: torch.Generator) -> Tensor:
    shape, device = (3, len(x), 1, 1, 1), x.device
    draws = torch.randn(shape, generator=rng, device=device)
    draws = draws * (torch.rand(shape, generator=rng, device=device) < strength)
    x = (x + 0.2 * draws[0]) * torch.exp2(0.5 * draws[1])
    grey = x.mean(1, keepdim=True)
    return grey + (x - grey) * torch.exp2(draws[2])
