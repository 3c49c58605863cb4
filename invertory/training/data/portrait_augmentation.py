"""Augmentations of a portrait that keep its labels or change them in a known way.

Images are mirrored, shifted, rotated and scaled a little (crops of an aligner are never exact),
blurred, made noisy and slightly recoloured (so that the networks also work on synthesised images).
Light, skin and hair colours are labels, so colours change only slightly.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional

# the mirror image of each of iBUG's 68 points
MIRRORED: Final = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    27, 28, 29, 30, 35, 34, 33, 32, 31,  # nose
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,  # eyes
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55,  # lips, outer
    64, 63, 62, 61, 60, 67, 66, 65,  # lips, inner
)  # fmt: skip
MIRRORED_ATTRIBUTES: Final = ("yaw_deg", "light_deg")  # negated by mirroring


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """The largest strength of each change; 0 disables it."""

    mirrored: float = 0.5  # share of images
    moved: float = 0.5  # share that is shifted, rotated and scaled
    shift: float = 0.04  # of the side
    turn_deg: float = 4.0
    scale: float = 0.06
    blurred: float = 0.2  # share
    noisy: float = 0.3  # share
    noise: float = 0.1  # standard deviation; images are in [-1, 1]
    colour: float = 0.03  # standard deviation of channel gains and of brightness
    padding: Literal["reflection", "border"] = "reflection"  # outside the image

    def draw(self, num: int, rng: torch.Generator) -> Changes:
        """Draw changes for `num` images, on the generator's device."""
        u = torch.rand(num, 8, generator=rng, device=rng.device)
        n = torch.randn(num, 4, generator=rng, device=rng.device)
        is_mirrored = u[:, 0] < self.mirrored
        is_moved = (u[:, 1] < self.moved).float()
        signed = 2 * u[:, 2:6] - 1
        angle = signed[:, 0] * is_moved * math.radians(self.turn_deg)
        scale = 1 + signed[:, 1] * is_moved * self.scale
        theta = torch.zeros(num, 2, 3, device=rng.device)
        mirror = torch.where(is_mirrored, -1.0, 1.0)
        theta[:, 0, 0], theta[:, 0, 1] = mirror * scale * angle.cos(), -scale * angle.sin()
        theta[:, 1, 0], theta[:, 1, 1] = mirror * scale * angle.sin(), scale * angle.cos()
        theta[:, :, 2] = 2 * self.shift * signed[:, 2:4] * is_moved[:, None]
        blur = (u[:, 6] / self.blurred) if self.blurred else torch.full_like(u[:, 6], 2.0)
        noise = (u[:, 7] / self.noisy) if self.noisy else torch.full_like(u[:, 7], 2.0)
        return Changes(
            is_mirrored=is_mirrored,
            theta=theta,
            blur=torch.where(blur < 1, blur, 0.0),
            noise=self.noise * torch.where(noise < 1, noise, 0.0).square(),
            gain=1 + self.colour * n[:, :3],
            brightness=self.colour * n[:, 3],
            padding=self.padding,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Changes of N images.

    `theta` maps a position in the changed image (x, y, 1), with x and y in [-1, 1], to its position
    in the original.
    """

    is_mirrored: Tensor  # bool [N]
    theta: Tensor  # [N, 2, 3]
    blur: Tensor  # [N], 0 to 1
    noise: Tensor  # [N], deviation
    gain: Tensor  # [N, 3]
    brightness: Tensor  # [N]
    padding: str

    def images(self, x: Tensor, rng: torch.Generator) -> Tensor:
        """Apply to images [N, 3, H, W] in [-1, 1]."""
        x = self._warped(x, "bilinear")
        kernel = torch.tensor([0.25, 0.5, 0.25], device=x.device)
        weight = (kernel[:, None] * kernel).expand(3, 1, 3, 3)
        padded = functional.pad(x, (1, 1, 1, 1), mode="replicate")
        x = x.lerp(functional.conv2d(padded, weight, groups=3), self.blur.view(-1, 1, 1, 1))
        x = x * self.gain[:, :, None, None] + self.brightness.view(-1, 1, 1, 1)
        grain = torch.randn(x.shape, generator=rng, device=x.device)
        return (x + self.noise.view(-1, 1, 1, 1) * grain).clamp(-1, 1)

    def segmentations(self, labels: Tensor) -> Tensor:
        """Apply to indices [N, H, W] => int64, moved like the images."""
        return self._warped(labels[:, None].float(), "nearest")[:, 0].long()

    def maps(self, values: Tensor) -> Tensor:
        """Apply to values [N, C, H, W], moved like the images."""
        return self._warped(values, "bilinear")

    def landmarks(self, points: Tensor, size_px: int) -> Tensor:
        """Apply to points [N, 68, 2] px (x, y) in iBUG order."""
        places = 2 * (points + 0.5) / size_px - 1  # pixel centres, as in grid_sample
        moved = torch.linalg.solve(self.theta[:, :, :2], (places - self.theta[:, None, :, 2]).mT).mT
        swapped = torch.where(self.is_mirrored[:, None, None], moved[:, MIRRORED], moved)
        return (swapped + 1) / 2 * size_px - 0.5

    def attributes(self, values: Tensor, names: tuple[str, ...]) -> Tensor:
        """Apply to attributes [N, len(names)]: mirroring negates MIRRORED_ATTRIBUTES."""
        columns = [names.index(name) for name in MIRRORED_ATTRIBUTES if name in names]
        changed = values.clone()
        sign = torch.where(self.is_mirrored, -1.0, 1.0)
        changed[:, columns] = values[:, columns] * sign[:, None]
        return changed

    def _warped(self, x: Tensor, mode: str) -> Tensor:
        grid = functional.affine_grid(self.theta, list(x.shape), align_corners=False)
        return functional.grid_sample(
            x, grid, mode=mode, padding_mode=self.padding, align_corners=False
        )
