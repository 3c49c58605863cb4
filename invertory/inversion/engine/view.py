"""What a loss compares: the generator's image and the target, at one resolution.

Targets are resized once, by area means, and their perceptual features are computed once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.generators.stylegan2_layers import Hooks
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True)
class View:
    """The generator's image at `size_px`, from its preview or its full synthesis."""

    generator: Generator
    perceptual: Perceptual
    is_preview: bool
    size_px: int

    @classmethod
    def of(
        cls,
        generator: Generator,
        perceptual: Perceptual,
        targets: Tensor,
        *,
        preview: bool,
        max_px: int,
    ) -> View:
        """Use the highest resolution that the generator, targets [N, 3, H, H] and `max_px` allow.

        Raises `ValueError` if the targets are not square.
        """
        if targets.dim() != 4 or targets.shape[-1] != targets.shape[-2]:
            raise ValueError(
                f"expected square targets [N, 3, H, H], got {list(targets.shape)}: align them first"
            )
        resolution = generator.preview_resolution if preview else generator.resolution
        return cls(generator, perceptual, preview, min(resolution, targets.shape[-1], max_px))

    def render(self, w_plus: Tensor, **hooks: Hooks) -> Tensor:
        """w_plus [N, num_ws, w_dim] => [N, 3, size_px, size_px].

        `hooks` needs a generator whose synthesis takes hooks.
        """
        if not self.is_preview:
            return self.resize(self.generator.synthesis(w_plus, **hooks))
        return self.resize(self.generator.preview(w_plus, self.size_px, **hooks))

    def resize(self, images: Tensor) -> Tensor:
        """Resize by area means; images of `size_px` are returned unchanged."""
        if images.shape[-1] == self.size_px:
            return images
        return interpolate(images, size=(self.size_px, self.size_px), mode="area")

    def constants(self, targets: Tensor) -> dict[str, Tensor]:
        """targets [n, 3, H, H] => the resized target and its features, which `compare` needs."""
        target = self.resize(targets)
        features = self.perceptual.features(target)
        return {"target": target} | {f"features.{i}": f for i, f in enumerate(features)}

    def compare(self, synth: Tensor, constants: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compare synth [n, 3, size_px, size_px] with the targets: `mse` and `perceptual`, [n]."""
        return {
            "mse": squared_error(synth, constants),
            "perceptual": self.distance(synth, constants),
        }

    def distance(self, synth: Tensor, constants: dict[str, Tensor]) -> Tensor:
        """Perceptual distance of synth [n, 3, size_px, size_px] from the targets, [n]."""
        features = self.perceptual.features(synth)
        cached = [constants[f"features.{i}"] for i in range(len(features))]
        return self.perceptual.distance(features, cached)


def squared_error(synth: Tensor, constants: dict[str, Tensor]) -> Tensor:
    """Mean squared error on [-1, 1] per row, [n]."""
    return (synth.float() - constants["target"].float()).square().mean((1, 2, 3))


def channels_last(*networks: object) -> None:
    """Convert kernels to channels-last, the fastest layout for bfloat16 convolutions.

    Values do not change.
    """
    for network in networks:
        if isinstance(network, nn.Module):
            network.to(memory_format=torch.channels_last)
