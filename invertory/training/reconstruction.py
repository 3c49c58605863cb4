"""Shared by the trainers of encoders: reconstruction of images, and its measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.metrics.pixel import psnr_db

if TYPE_CHECKING:
    from invertory.encoders import Encoder
    from invertory.generators import Generator
    from invertory.training.compute import Compute


def render(generator: Generator, w_plus: Tensor, size_px: int) -> Tensor:
    """w_plus [N, 1 or num_ws, w_dim] => [N, 3, size_px, size_px], differentiable.

    Uses the cheapest preview that is fine enough, reduced by area means, or the full synthesis if
    no preview is.
    """
    w_plus = w_plus.expand(-1, generator.num_ws, -1)
    is_fine = generator.preview_resolution >= size_px
    synth = generator.preview(w_plus, size_px) if is_fine else generator.synthesis(w_plus)
    return shrink(synth, size_px)


def shrink(images: Tensor, size_px: int) -> Tensor:
    """Reduce by area means; images that are no larger are returned unchanged."""
    if images.shape[-1] <= size_px:
        return images
    return interpolate(images, size=(size_px, size_px), mode="area")


@torch.no_grad()
def reconstruct(
    generator: Generator, encoder: Encoder, images: Tensor, size_px: int, compute: Compute
) -> Tensor:
    """Images [N, 3, H, H] => their reconstructions, float32 in [-1, 1]."""
    synths = []
    for part in torch.split(images, 8):
        with compute.autocast():
            synths.append(render(generator, encoder(part), size_px).float().clamp(-1, 1))
    return torch.cat(synths)


def mean_psnr_db(real: Tensor, synth: Tensor) -> float:
    """Mean PSNR over images; `real` is resized to `synth`."""
    return float(psnr_db(shrink(real, synth.shape[-1]), synth).mean())


def sheet_of(real: Tensor, synth: Tensor) -> Tensor:
    """[N, 3, H, H] each => [3, 2 H, N H]: `real` above, `synth` below."""
    real = shrink(real, synth.shape[-1])
    rows = [torch.cat(list(images.float().cpu()), 2) for images in (real, synth)]
    return torch.cat(rows, 1).clamp(-1, 1)
