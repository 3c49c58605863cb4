"""Losses that train a generator as the decoder of an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d


def reconstruction_loss(synth: Tensor, target: Tensor) -> Tensor:
    """Mean absolute differences of pixels, 4x4 means and gradients; images [N, 3, H, W].

    Pixel losses alone blur; gradients favour edges, and means favour correct colours early.
    """
    error = synth.float() - target.float()
    across, down = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
    slopes = across.abs().mean() + down.abs().mean()
    return error.abs().mean() + avg_pool2d(error, 4).abs().mean() + slopes


def feature_distance(synth: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
    """Mean over maps of the absolute difference, relative to the target's mean magnitude."""
    parts = [
        (a.float() - b.float()).abs().mean() / (b.float().abs().mean() + 1e-6)
        for a, b in zip(synth, target, strict=True)
    ]
    return torch.stack(parts).mean()
