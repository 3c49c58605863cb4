"""Intersection over union of segmentations.

Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", 2015,
https://doi.org/10.1007/s11263-014-0733-5: counts are pooled over all pixels of all images.
"""

from __future__ import annotations

from torch import Tensor


def count_confusion(predicted: Tensor, labels: Tensor, num_segments: int) -> Tensor:
    """Indices, both [N, H, W] => int64 counts [num_segments (true), num_segments (predicted)]."""
    if predicted.shape != labels.shape:
        raise ValueError(
            f"expected segmentations of one shape, got {list(predicted.shape)} and "
            f"{list(labels.shape)}"
        )
    pairs = labels.long().flatten() * num_segments + predicted.long().flatten()
    return pairs.bincount(minlength=num_segments**2).view(num_segments, num_segments)


def intersection_over_union(confusion: Tensor) -> Tensor:
    """Counts [S, S] => IoU [S]; NaN for a segment that is neither present nor predicted."""
    both = confusion.diagonal()
    return both / (confusion.sum(0) + confusion.sum(1) - both)
