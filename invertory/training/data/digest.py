"""Short digests of a trainer's images, so that a run cannot resume on other data unnoticed."""

from __future__ import annotations

import hashlib

import torch

from invertory.images import to_uint8
from invertory.training.compute import TrainingImages
from invertory.training.data.portrait_batches import PortraitMix

SAMPLED = 64  # images that are hashed, evenly spaced from first to last


def data_digests(training: object) -> list[str]:
    """One line per set of images among a trainer's attributes, sorted; may be empty."""
    digests: list[str] = []
    for value in getattr(training, "__dict__", {}).values():
        if isinstance(value, TrainingImages):
            digests.append(digest(value))
        elif isinstance(value, PortraitMix):
            digests += map(digest, value.sets)
    return sorted(digests)


def digest(images: TrainingImages) -> str:
    """The number and size of images, and a digest of a sample."""
    last, (_, _, height, width) = len(images) - 1, images[:1].shape
    sha256 = hashlib.sha256()
    for row in sorted({round(i * last / (SAMPLED - 1)) for i in range(SAMPLED)}):
        sha256.update(to_uint8(images[torch.tensor([row])]).tobytes())
    return f"{last + 1} pictures of {height} x {width} px, {sha256.hexdigest()[:16]}"
