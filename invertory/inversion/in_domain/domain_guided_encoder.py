"""In-Domain's domain-guided encoder, trained on real images through the generator.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049,
eq. 2 and 3. `invertory/training/idinvert/domain_guided_encoder.py` trains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from invertory.inversion.feed_forward import FeedForward


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainGuidedEncoder(FeedForward):
    """Compute W+ in one pass of an encoder trained on real images."""
