"""e4e: latents in one pass, close enough to W to be edited.

Designing an Encoder for StyleGAN Image Manipulation, Tov et al. 2021,
https://arxiv.org/abs/2102.02766. `invertory/training/pyramid/e4e.py` trains the encoder.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from invertory.inversion.feed_forward import SinglePassMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class E4E(SinglePassMethod):
    """Compute W+ in one pass of an encoder whose rows stay near the first row."""

    needs: ClassVar[tuple[str, ...]] = ("e4e",)

    e4e: str = field(
        default="auto",
        metadata={"description": "address of the e4e encoder; auto: the one for this generator"},
    )
