"""The initial phase of SAMM: known warps are inverted, and a second step is smaller."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from invertory.networks.samm.figures import compare_steps
from invertory.networks.samm.layers import MAX_FLOW, AlignNet, Level, standardised, warp
from invertory.training.optimiser import seeded
from invertory.training.samm.known_warps import inverse_flow, known_flow

PX = 16  # of which half a one is a flow of 1 / 16, within the limit


def smooth(num: int, rng: torch.Generator, channels: int = 3) -> Tensor:
    return avg_pool2d(torch.randn(num, channels, PX + 4, PX + 4, generator=rng), 5, 1)


def shifted(num: int, rng: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Features, a copy shifted by half a pixel, and the flow that reverses the shift."""
    x = smooth(num, rng)
    signs = torch.randint(0, 2, (num, 1, 1, 1), generator=rng) * 2.0 - 1
    back = torch.cat([signs, torch.zeros_like(signs)], 1) / PX
    back = back.expand(-1, -1, PX, PX)
    return x, warp(x, -back), back


def told(align: AlignNet, x: Tensor, moved: Tensor) -> list[Tensor]:
    """The steps of two cycles."""
    wanted = standardised(x)
    first, _ = align(moved, wanted)
    second, _ = align(warp(moved, first.detach()), wanted)
    return [first, second]


def test_known_flows_are_smooth_and_within_the_limit():
    flow = known_flow(64, PX, torch.Generator().manual_seed(0))
    assert flow.shape == (64, 2, PX, PX)
    assert 0.5 * MAX_FLOW < float(flow.abs().max()) <= MAX_FLOW
    assert float((flow[..., 1:] - flow[..., :-1]).abs().max()) < 0.5 * MAX_FLOW


def test_what_was_warped_is_led_back():
    flow = known_flow(8, PX, torch.Generator().manual_seed(1))
    back = inverse_flow(flow)
    left = back + warp(flow, back)  # where one ends up
    inner = (..., slice(4, -4), slice(4, -4))  # beyond the edge lies the edge's own value
    assert float(left[inner].abs().max()) < 0.02 * float(flow.abs().max())


def test_a_briefly_trained_level_moves_the_right_way_and_less_the_second_time():
    align = seeded(lambda: AlignNet(3, 16), 0)
    optimiser = torch.optim.Adam(align.parameters(), lr=5e-3)
    rng = torch.Generator().manual_seed(2)
    for _ in range(120):
        x, moved, back = shifted(6, rng)
        first, second = told(align, x, moved)
        loss = (first - back).square() + (first.detach() + second - back).square()
        optimiser.zero_grad()
        (loss.mean() / MAX_FLOW**2).backward()
        optimiser.step()
    with torch.no_grad():
        x, moved, back = shifted(16, rng)
        steps = torch.stack(told(align, x, moved))
    assert float((steps[0] - back).square().mean()) < 0.3 * float(back.square().mean())
    ratio = compare_steps(steps, torch.ones(16, 1, PX, PX))[1]
    assert float(ratio) < 0.7


def test_masks_begin_near_the_area_that_a_level_may_have():
    level = seeded(lambda: Level(8, (6, 6), 8, preset="code", narrowing=2), 0)
    rng = torch.Generator().manual_seed(3)
    parts = [torch.randn(shape, generator=rng) for shape in ((2, 6, 8, 8), (2, 8), (2, 6, 8, 8))]
    for area, wanted in ((0.1, 0.1), (0.5, 0.5), (1.0, 0.98), (0.0, 0.02)):
        level.set_initial_area(area)
        with torch.no_grad():
            mask = level(*parts, None, cycles=1, is_warping=False)[1]
        assert float(mask.mean()) == pytest.approx(wanted, rel=0.1)
