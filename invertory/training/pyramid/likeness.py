"""Similarity of images and their reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from invertory.training.reconstruction import mean_psnr_db

if TYPE_CHECKING:
    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual

PART = 32  # images per pass


def identity_cosine(classifier: AttributeClassifier, synth: Tensor, embedding: Tensor) -> Tensor:
    """Cosines [N] of the classifier's embedding of `synth` [N, 3, H, H] with `embedding` [N, D]."""
    return cosine_similarity(classifier.embedding(synth).float(), embedding, dim=1)


def compare_images(
    real: Tensor, synth: Tensor, perceptual: Perceptual, classifier: AttributeClassifier | None
) -> dict[str, float]:
    """Mean measures of images [N, 3, H, H] in [-1, 1]; identity only with a classifier."""
    pairs = list(zip(torch.split(real, PART), torch.split(synth, PART), strict=True))
    features = perceptual.features
    distances = [perceptual.distance(features(a), features(b)) for a, b in pairs]
    metrics = {
        "mse": float((real - synth).square().mean()),
        "psnr_db": mean_psnr_db(real, synth),
        f"perceptual_{perceptual.name}": float(torch.cat(distances).mean()),
    }
    if classifier is not None:
        cosines = [identity_cosine(classifier, b, classifier.embedding(a)) for a, b in pairs]
        metrics["identity"] = float(torch.cat(cosines).mean())
    return metrics
