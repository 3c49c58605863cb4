"""Which images a trainer holds, told briefly: a run must not go on over others unnoticed."""

from __future__ import annotations

import hashlib

import torch

from invertory.images import to_uint8
from invertory.training.compute import TrainingImages
from invertory.training.data.portrait_batches import PortraitMix

SAMPLED = 64  # images whose bytes are read, evenly from the first to the last


def data_digests(training: object) -> list[str]:
    """A line for each set of images among a trainer's attributes, sorted; none: nothing known."""
    digests: list[str] = []
    for value in getattr(training, "__dict__", {}).values():
        if isinstance(value, TrainingImages):
            digests.append(digest(value))
        elif isinstance(value, PortraitMix):
            digests += map(digest, value.sets)
    return sorted(digests)


def digest(images: TrainingImages) -> str:
    """How many, of what size, and a digest of a sample."""
    last, (_, _, height, width) = len(images) - 1, images[:1].shape
    sha256 = hashlib.sha256()
    for row in sorted({round(i * last / (SAMPLED - 1)) for i in range(SAMPLED)}):
        sha256.update(to_uint8(images[torch.tensor([row])]).tobytes())
    return f"{last + 1} pictures of {height} x {width} px, {sha256.hexdigest()[:16]}"
