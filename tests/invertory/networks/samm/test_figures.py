"""The metrics that show whether alignment has learnt."""

from __future__ import annotations

import pytest
import torch

from invertory.networks.samm.figures import alignment_figures, compare_steps, saturation
from invertory.networks.samm.layers import MAX_FLOW
from invertory.networks.samm.network import Aligned

ONES = torch.ones(1, 1, 4, 4)


def test_saturation_counts_entries_at_the_limit_where_the_mask_is():
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0, :2] = -MAX_FLOW
    assert float(saturation(flow, ONES)) == pytest.approx(0.25)
    half = ONES.clone()
    half[..., 2:, :] = 0
    assert float(saturation(flow, half)) == pytest.approx(0.5)
    assert float(saturation(flow, 0 * ONES)) == 0


def test_a_step_is_compared_with_the_one_before():
    first = torch.randn(1, 2, 4, 4)
    for second, cosine, ratio in ((first, 1, 1), (-first / 2, -1, 0.5), (0 * first, 0, 0)):
        found = compare_steps(torch.stack([first, second, first]), ONES)
        assert [float(one) for one in found] == pytest.approx([cosine, ratio], abs=1e-5)


def test_figures_are_means_over_levels_and_of_one_cycle_the_saturation_alone():
    steps = torch.full((2, 1, 2, 4, 4), MAX_FLOW)
    found = Aligned(torch.zeros(1, 3, 4, 4), [ONES, ONES], [steps[0], 0 * steps[0]], [steps, steps])
    told = {name: float(value) for name, value in alignment_figures(found).items()}
    assert told == pytest.approx({"flow_saturation": 0.5, "step_cosine": 1, "step_ratio": 1})
    found.steps = [steps[:1], steps[:1]]
    assert set(alignment_figures(found)) == {"flow_saturation"}
