"""In-Domain's conventional encoder, trained on images that the generator made.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049,
eq. 1. `invertory/training/idinvert/conventional_encoder.py` trains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from invertory.inversion.feed_forward import FeedForward


@dataclass(frozen=True, slots=True, kw_only=True)
class ConventionalEncoder(FeedForward):
    """Compute W+ in one pass of an encoder trained on generated images."""
