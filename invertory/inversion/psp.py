"""pSp: latents in one pass, with a separate head for every style.

Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation, Richardson et al. 2021,
https://arxiv.org/abs/2008.00951. `invertory/training/pyramid/psp.py` trains the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from invertory.inversion.feed_forward import SinglePassMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class PSP(SinglePassMethod):
    """Compute W+ in one pass of a feature-pyramid encoder."""

    needs: ClassVar[tuple[str, ...]] = ("psp",)

    psp: str = field(
        default="auto",
        metadata={"description": "address of the pSp encoder; auto: the one for this generator"},
    )
