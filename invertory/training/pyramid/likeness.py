"""How alike pictures and what an encoder and a generator made of them are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from invertory.training.reconstruction import mean_psnr_db

if TYPE_CHECKING:
    from invertory.networks.classifier import AttributeClassifier
    from invertory.perceptual import Perceptual

PART = 32  # pictures of one pass


def likeness(classifier: AttributeClassifier, made: Tensor, embedding: Tensor) -> Tensor:
    """Cosines [N] of a classifier's embeddings, those of `made` [N, 3, H, H] and the others'."""
    return cosine_similarity(classifier.embedding(made).float(), embedding, dim=1)


def alike(
    real: Tensor, made: Tensor, perceptual: Perceptual, classifier: AttributeClassifier | None
) -> dict[str, float]:
    """Of pictures [N, 3, H, H] in [-1, 1]: means over pictures; identity where there is a judge."""
    pairs = list(zip(torch.split(real, PART), torch.split(made, PART), strict=True))
    features = perceptual.features
    distances = [perceptual.distance(features(a), features(b)) for a, b in pairs]
    told = {
        "mse": float((real - made).square().mean()),
        "psnr_db": mean_psnr_db(real, made),
        f"perceptual_{perceptual.name}": float(torch.cat(distances).mean()),
    }
    if classifier is not None:
        found = [likeness(classifier, b, classifier.embedding(a)) for a, b in pairs]
        told["identity"] = float(torch.cat(found).mean())
    return told
