"""LEC: whether the encoding of an edited image, the edit taken back, is the latent it came from.

Designing an Encoder for StyleGAN Image Manipulation, Tov et al. 2021,
https://arxiv.org/abs/2102.02766. Where ECS (`edit_consistency`) compares images, LEC
compares latents: E |w - e^-1(E(G(e(w))))|, w being what the encoder said of an image. As in the
code the mean leaves out what lies below the 1st and above the 99th percentile; the edit there is
age by +-3. In units of w: compare encoders of one generator only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from invertory.metrics.edit_consistency import Inversion, Latents, Synthesis

TRIM = 0.01  # share left out at each end


@torch.no_grad()
def latent_errors(
    w_plus: Tensor,
    *,
    edits: list[tuple[Latents, Latents]],
    synthesis: Synthesis,
    invert: Inversion,
) -> Tensor:
    """Inversions [N, num_ws, w_dim], edits with what takes each back => [N, num_edits].

    The length of the difference over all of W+. Inverts N images for each edit.
    """
    if not edits:
        raise ValueError("expected at least one edit with what takes it back, got none")
    return torch.stack([_errors(w_plus, *pair, synthesis, invert) for pair in edits], 1)


def _errors(
    w_plus: Tensor, edit: Latents, undo: Latents, synthesis: Synthesis, invert: Inversion
) -> Tensor:
    edited = synthesis(edit(w_plus)).clamp(-1, 1)
    with torch.enable_grad():  # an inversion may optimise
        inverted_edit = invert(edited)
    return latent_error(w_plus, undo(inverted_edit))


def latent_error(w_plus: Tensor, again: Tensor) -> Tensor:
    """Inversions and what they came back as, both [N, num_ws, w_dim] => [N] lengths."""
    out: Tensor = (w_plus.float() - again.float()).flatten(1).norm(dim=1)
    return out


def latent_consistency(errors: Tensor, trim: float = TRIM) -> float:
    """Errors of any shape => their mean between the percentiles `trim` and 1 - `trim`; 0 is best.

    NaN errors, of rows without a latent, are left out.
    """
    return float(trimmed(errors, trim).mean())


def trimmed(errors: Tensor, trim: float = TRIM) -> Tensor:
    """Errors of any shape => those [M] that `latent_consistency` takes the mean of, float64."""
    known = errors[~errors.isnan()].double()
    if not len(known) or not 0 <= trim < 0.5:
        raise ValueError(
            f"expected errors of at least one row and a trim from 0 to below 0.5, got {len(known)} "
            f"errors and {trim}"
        )
    low, high = torch.quantile(known, torch.tensor([trim, 1 - trim]).to(known))
    return known[(known >= low) & (known <= high)]
