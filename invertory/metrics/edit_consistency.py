"""ECS: whether an edit of an inversion can be inverted and taken back.

Grechka, Goudou and Cord, "MAGECally invert images for realistic editing", BMVC 2021,
https://hal.sorbonne-universite.fr/hal-03504190, section 4 (equations 4 and 5). Only images that
lack the target attribute are scored there; that choice is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.perceptual import Perceptual

Latents = Callable[["Tensor"], "Tensor"]  # w_plus [N, num_ws, w_dim] => the same shape
Synthesis = Callable[["Tensor"], "Tensor"]  # w_plus => images [N, 3, H, W] in [-1, 1]
Inversion = Callable[["Tensor"], "Tensor"]  # images => w_plus


class Cycle(NamedTuple):
    """Images [N, 3, H, W] in [-1, 1]."""

    inverted: Tensor  # p(x)
    edited: Tensor  # x_edit
    cycled: Tensor  # x_cyc: the edit inverted, and taken back


@torch.no_grad()
def edit_cycle(
    w_plus: Tensor, *, edit: Latents, undo: Latents, synthesis: Synthesis, invert: Inversion
) -> Cycle:
    """Inversions [N, num_ws, w_dim] => what `edit_consistency` compares; inverts N images."""
    edited = synthesis(edit(w_plus))
    with torch.enable_grad():  # an inversion may optimise
        inverted_edit = invert(edited.clamp(-1, 1))
    return Cycle(synthesis(w_plus), edited, synthesis(undo(inverted_edit)))


@torch.no_grad()
def edit_consistency(images: Cycle, perceptual: Perceptual) -> Tensor:
    """[N] of 0 (perfect) and more; beyond 1, what the cycle lost exceeds what an edit changes.

    NaN where the edit changed nothing at all, as there is nothing to be consistent with. Equation
    5, the score of a method, is the mean. Name the distance beside the score: the paper's is LPIPS.
    """
    inverted, edited, cycled = (perceptual.features(x) for x in images)
    moved = perceptual.distance(inverted, edited) + perceptual.distance(edited, cycled)
    return 2 * perceptual.distance(inverted, cycled) / moved  # equation 4
