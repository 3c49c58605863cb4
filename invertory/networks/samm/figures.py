"""Three metrics that show whether SAMM's alignment has learnt to align.

They are our own; the paper (see network.py) does not show its flows. They are weighted by the mask,
because a flow acts only where the mask is high. A module that responds to its input predicts a
smaller second flow after its first flow was applied; a module that ignores its input repeats the
flow: cosine and ratio are 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from invertory.networks.samm.layers import MAX_FLOW

if TYPE_CHECKING:
    from invertory.networks.samm.network import Aligned

FIGURES: Final = ("flow_saturation", "step_cosine", "step_ratio")
NEAR: Final = 0.995  # share of the limit that counts as saturated, since tanh never reaches it


def saturation(flow: Tensor, mask: Tensor) -> Tensor:
    """Flow [N, 2, r, r], mask [N, 1, r, r] => share of flow entries at +-`MAX_FLOW`."""
    at_limit = (flow.abs() >= NEAR * MAX_FLOW).float().mean(1, keepdim=True)
    return (at_limit * mask).sum() / mask.sum().clamp_min(1e-6)


def compare_steps(steps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Steps [cycles >= 2, N, 2, r, r], mask [N, 1, r, r] => cosine and ratio of norms.

    Both compare the second step with the first.
    """
    first, second = (step * mask.sqrt() for step in steps[:2])
    sizes = [step.norm().clamp_min(1e-9) for step in (first, second)]
    return (first * second).sum() / (sizes[0] * sizes[1]), sizes[1] / sizes[0]


@torch.no_grad()
def alignment_figures(aligned: Aligned) -> dict[str, Tensor]:
    """Means over levels; with one cycle, the saturation only."""
    pairs = zip(aligned.flows, aligned.masks, strict=True)
    values = [torch.stack([saturation(flow, mask) for flow, mask in pairs])]
    if len(aligned.steps[0]) > 1:
        pairs = zip(aligned.steps, aligned.masks, strict=True)
        alike = [compare_steps(steps, mask) for steps, mask in pairs]
        values += [torch.stack(one) for one in zip(*alike, strict=True)]
    return {name: value.mean() for name, value in zip(FIGURES, values, strict=False)}
