"""Whether SAMM's alignment has learnt to align, in three figures.

Our own; the paper (see samm.py) shows flows in none. They are weighted by the mask, for a flow acts
nowhere else. A module that answers what it is shown tells, once its first flow has been followed,
a smaller second one; one that says the same whatever it sees repeats it: cosine and ratio 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from invertory.networks.samm.layers import MAX_FLOW

if TYPE_CHECKING:
    from invertory.networks.samm.network import Aligned

FIGURES: Final = ("flow_saturation", "step_cosine", "step_ratio")
NEAR: Final = 0.995  # of the limit is at it: a tanh comes no nearer


def saturation(flow: Tensor, mask: Tensor) -> Tensor:
    """flow [N, 2, r, r], mask [N, 1, r, r] => share of the flow's entries at +-`MAX_FLOW`."""
    at_limit = (flow.abs() >= NEAR * MAX_FLOW).float().mean(1, keepdim=True)
    return (at_limit * mask).sum() / mask.sum().clamp_min(1e-6)


def compare_steps(steps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """steps [cycles from 2, N, 2, r, r], mask [N, 1, r, r] => of the second with the first: the
    cosine, and the ratio of lengths.
    """
    first, second = (step * mask.sqrt() for step in steps[:2])
    sizes = [step.norm().clamp_min(1e-9) for step in (first, second)]
    return (first * second).sum() / (sizes[0] * sizes[1]), sizes[1] / sizes[0]


@torch.no_grad()
def alignment_figures(aligned: Aligned) -> dict[str, Tensor]:
    """Means over levels; of one cycle the saturation alone."""
    pairs = zip(aligned.flows, aligned.masks, strict=True)
    values = [torch.stack([saturation(flow, mask) for flow, mask in pairs])]
    if len(aligned.steps[0]) > 1:
        pairs = zip(aligned.steps, aligned.masks, strict=True)
        alike = [compare_steps(steps, mask) for steps, mask in pairs]
        values += [torch.stack(one) for one in zip(*alike, strict=True)]
    return {name: value.mean() for name, value in zip(FIGURES, values, strict=False)}
