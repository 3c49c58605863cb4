"""Similarity of a set of synthesised images to a set of real ones, in one embedding.

Images arrive in batches and are embedded once; a set is then represented by its features and their
moments, and can be compared with any other set.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from invertory.metrics.frechet import Moments, frechet_distance
from invertory.metrics.kid import kid
from invertory.metrics.precision_recall import precision_recall

Embedding = Callable[[Tensor], Tensor]  # images [N, 3, H, W] in [-1, 1] => features [N, d]


@dataclass(frozen=True, slots=True)
class EmbeddedSet:
    """The features of a set of images, on the CPU."""

    features: Tensor  # [n, d] float32
    moments: Moments


@dataclass(frozen=True, slots=True)
class SetComparison:
    """Distances are 0 for equal distributions. FID is biased by n; the others far less."""

    fid: float
    kid: float
    kid_std: float  # between subsets
    precision: float
    recall: float
    n_real: int
    n_made: int


def compare_sets(
    real: Iterable[Tensor], synth: Iterable[Tensor], embedding: Embedding, *, seed: int = 0
) -> SetComparison:
    """Compare batches of images [N, 3, H, W] in [-1, 1]; only their features are kept."""
    return compare_embedded(embed_set(real, embedding), embed_set(synth, embedding), seed=seed)


@torch.no_grad()
def embed_set(batches: Iterable[Tensor], embedding: Embedding) -> EmbeddedSet:
    """Batches of images [N, 3, H, W] in [-1, 1] => their features [n, d] and moments.

    Raises ValueError if features are not finite or there are fewer than two images.
    """
    blocks, moments = [], Moments()
    for images in batches:
        features = embedding(images).float().cpu()
        first = moments.count
        moments.update(features)
        if not torch.isfinite(features).all():
            raise ValueError(
                "expected finite features, got NaN or infinity among the images "
                f"{first} to {moments.count - 1} of the set; inspect or remove these images"
            )
        blocks.append(features)
    if moments.count < 2:
        raise ValueError(f"expected two images or more in a set, got {moments.count}")
    return EmbeddedSet(torch.cat(blocks), moments)


def compare_embedded(
    real: EmbeddedSet,
    synth: EmbeddedSet,
    *,
    k: int = 3,
    kid_subsets: int = 100,
    kid_subset_size: int = 1000,
    seed: int = 0,
) -> SetComparison:
    """Compare embedded sets.

    `k` is the neighbour of precision and recall; `seed` draws the subsets of KID, each at most half
    of the smaller set.
    """
    half = min(real.moments.count, synth.moments.count) // 2
    distance = kid(
        real.features,
        synth.features,
        num_subsets=kid_subsets,
        subset_size=min(kid_subset_size, max(half, 2)),
        seed=seed,
    )
    precision, recall = precision_recall(real.features, synth.features, k=k)
    return SetComparison(
        fid=frechet_distance(real.moments, synth.moments),
        kid=distance.mean,
        kid_std=distance.std,
        precision=precision,
        recall=recall,
        n_real=real.moments.count,
        n_made=synth.moments.count,
    )
