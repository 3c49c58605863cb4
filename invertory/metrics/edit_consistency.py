"""ECS, the edit consistency score: whether an edit survives inversion and can be undone.

Grechka, Goudou and Cord, "MAGECally invert images for realistic editing", BMVC 2021,
https://hal.sorbonne-universite.fr/hal-03504190, section 4 (equations 4 and 5). The paper scores
only images without the target attribute; the caller makes this choice.
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
    cycled: Tensor  # x_cyc: the edit, inverted and undone


@torch.no_grad()
def edit_cycle(
    w_plus: Tensor, *, edit: Latents, undo: Latents, synthesis: Synthesis, invert: Inversion
) -> Cycle:
    """Inversions [N, num_ws, w_dim] => the inputs of `edit_consistency`; inverts N images."""
    edited = synthesis(edit(w_plus))
    with torch.enable_grad():  # methods may optimise
        inverted_edit = invert(edited.clamp(-1, 1))
    return Cycle(synthesis(w_plus), edited, synthesis(undo(inverted_edit)))


@torch.no_grad()
def edit_consistency(images: Cycle, perceptual: Perceptual) -> Tensor:
    """Equation 4: scores [N], from 0 (perfect); above 1, the cycle loses more than the edit
    changes.

    ECS = 2 d(p(x), x_cyc) / (d(p(x), x_edit) + d(x_edit, x_cyc)) with the perceptual distance d.
    NaN if the edit changed nothing. Equation 5, the score of a method, is the mean. Report the
    distance beside the score: the paper uses LPIPS.
    """
    inverted, edited, cycled = (perceptual.features(x) for x in images)
    moved = perceptual.distance(inverted, edited) + perceptual.distance(edited, cycled)
    return 2 * perceptual.distance(inverted, cycled) / moved  # equation 4
