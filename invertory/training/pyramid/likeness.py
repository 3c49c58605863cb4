"""How alike images and what an encoder and a generator made of them are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from invertory.training.reconstruction import mean_psnr_db

if TYPE_CHECKING:
    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual

PART = 32  # images of one pass


def identity_cosine(classifier: AttributeClassifier, synth: Tensor, embedding: Tensor) -> Tensor:
    """Cosines [N] of a classifier's embeddings, those of `made` [N, 3, H, H] and the others'."""
    return cosine_similarity(classifier.embedding(synth).float(), embedding, dim=1)


def compare_images(
    real: Tensor, synth: Tensor, perceptual: Perceptual, classifier: AttributeClassifier | None
) -> dict[str, float]:
    """Of images [N, 3, H, H] in [-1, 1]: means over images; identity where there is a judge."""
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
