"""LEC, latent editing consistency: whether a reversed edit returns to the original latent.

Designing an Encoder for StyleGAN Image Manipulation, Tov et al. 2021,
https://arxiv.org/abs/2102.02766. ECS (`edit_consistency`) compares images; LEC compares latents: E
|w - e^-1(E(G(e(w))))| with w = E(x). As in the code, the mean excludes values below the 1st and
above the 99th percentile; the paper's edit is age by +-3. The unit is that of w: compare only
encoders of the same generator.
"""

from __future__ import annotations

import torch
from torch import Tensor

from invertory.metrics.edit_consistency import Inversion, Latents, Synthesis

TRIM = 0.01  # share excluded at each end


@torch.no_grad()
def latent_errors(
    w_plus: Tensor,
    *,
    edits: list[tuple[Latents, Latents]],
    synthesis: Synthesis,
    invert: Inversion,
) -> Tensor:
    """Inversions [N, num_ws, w_dim] and pairs (edit, inverse edit) => norms [N, num_edits].

    Each norm is the L2 norm of the difference over all of W+. Inverts N images per edit.
    """
    if not edits:
        raise ValueError("expected at least one pair of an edit and its inverse, got none")
    return torch.stack([_errors(w_plus, *pair, synthesis, invert) for pair in edits], 1)


def _errors(
    w_plus: Tensor, edit: Latents, undo: Latents, synthesis: Synthesis, invert: Inversion
) -> Tensor:
    edited = synthesis(edit(w_plus)).clamp(-1, 1)
    with torch.enable_grad():  # methods may optimise
        inverted_edit = invert(edited)
    return latent_error(w_plus, undo(inverted_edit))


def latent_error(w_plus: Tensor, again: Tensor) -> Tensor:
    """L2 norms [N] of the differences of two latents [N, num_ws, w_dim]."""
    out: Tensor = (w_plus.float() - again.float()).flatten(1).norm(dim=1)
    return out


def latent_consistency(errors: Tensor, trim: float = TRIM) -> float:
    """Errors of any shape => their mean between the percentiles `trim` and 1 - `trim`; 0 is best.

    NaN errors, which mark rows without a latent, are excluded.
    """
    return float(trimmed(errors, trim).mean())


def trimmed(errors: Tensor, trim: float = TRIM) -> Tensor:
    """Errors of any shape => the errors [M] that `latent_consistency` averages, float64."""
    known = errors[~errors.isnan()].double()
    if not len(known) or not 0 <= trim < 0.5:
        raise ValueError(
            f"expected errors of at least one row and a trim from 0 to below 0.5, got {len(known)} "
            f"errors and {trim}"
        )
    low, high = torch.quantile(known, torch.tensor([trim, 1 - trim]).to(known))
    return known[(known >= low) & (known <= high)]
