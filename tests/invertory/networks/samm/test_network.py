"""SAMM's untrained modules: flows, masks, levels and invalid inputs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invertory.encoders import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_layers import Hooks
from invertory.generators.toy import ToyGenerator
from invertory.networks.samm import layers as samm_layers
from invertory.networks.samm.layers import (
    MAX_FLOW,
    Level,
    blend,
    compose,
    gather,
    standardised,
    warp,
)
from invertory.networks.samm.network import Aligned, Samm, level_channels
from invertory.training.optimiser import seeded


def stylegan2(px: int = 16, w_dim: int = 8) -> StyleGAN2:
    table = (8, 6, 4)[: px.bit_length() - 2]
    made = StyleGAN2(z_dim=8, w_dim=w_dim, img_resolution=px, num_layers=1, channel_table=table)
    made.initialise(torch.Generator().manual_seed(0))
    return made


def encoder_of(G: StyleGAN2) -> ResidualEncoder:
    def make() -> ResidualEncoder:
        return ResidualEncoder(
            resolution=16, num_ws=G.num_ws, w_dim=G.w_dim, channels=(4, 6, 8), narrow=4, hidden=16
        )

    return seeded(make, 0).eval().requires_grad_(False)


G = stylegan2()
E = encoder_of(G)


def modules(**how: object) -> Samm:
    made = seeded(lambda: Samm.between(E, G, **how), 1).eval().requires_grad_(False)
    for level in made.levels:  # flows and masks of every size
        level.align.head.weight.mul_(30)
    return made


def images(n: int = 3, px: int = 16) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.rand(n, 3, px, px, generator=rng) * 2 - 1


def aligned(samm: Samm, x: Tensor, **how: object) -> Aligned:
    w_plus, taps = E.tapped(x)
    return samm.align(G, w_plus, taps, **how)


def masked(samm: Samm, value: float) -> Samm:
    """The same network with masks of exactly 0 or 1: the sigmoid saturates."""
    for level in samm.levels:
        level.align.head.weight.zero_()
        level.align.shift.copy_(torch.tensor([0.5, -0.5, 400 * value - 200]))
    return samm


def test_levels_are_the_finest_that_both_sides_have():
    samm = modules()
    assert samm.sizes_px == (8, 16)
    assert (samm.encoder_channels, samm.generator_channels) == ((6, 4), (6, 4))
    assert modules(num=1).sizes_px == (16,)


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_mask_0_gives_the_generators_image(cycles):
    samm, x = masked(modules(), 0), images()
    found = aligned(samm, x, cycles=cycles)
    w_plus = E(x)
    same = Hooks(after_conv={f"b{px}.conv0": lambda g, w: g for px in samm.sizes_px})
    assert torch.equal(found.synth, G.synthesis(w_plus, hooks=same))
    torch.testing.assert_close(found.synth, G.synthesis(w_plus), rtol=1e-5, atol=1e-5)
    assert torch.equal(blend(x, found.synth, found.mask()), found.synth)


@pytest.mark.parametrize("cycles", [1, 2, 3])
def test_mask_1_gives_the_input_exactly(cycles):
    samm, x = masked(modules(), 1), images()
    found = aligned(samm, x, cycles=cycles)
    assert torch.equal(found.mask(), torch.ones(3, 1, 16, 16))
    assert torch.equal(samm(G, E, x), x)


def test_a_flow_of_0_changes_nothing():
    for size in (8, 16, 64):
        x = torch.randn(2, 3, size, size)
        assert torch.equal(warp(x, torch.zeros(2, 2, size, size)), x)


def test_a_flow_looks_to_the_right_and_down_by_halves_of_the_image():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    flow = torch.zeros(1, 2, 4, 4)
    flow[:, 0] = 2 / 4  # one pixel of four
    assert torch.equal(warp(x, flow)[..., :3], x[..., 1:])
    assert torch.equal(warp(x, flow)[..., 3], x[..., 3])  # beyond the edge, the edge
    assert torch.equal(warp(x, flow.flip(1))[:, :, :3], x[:, :, 1:])


def test_cycles_warp_the_generators_own_feature_by_the_sum_of_flows(monkeypatch):
    seen: list[tuple[Tensor, Tensor]] = []

    def recorded(x: Tensor, flow: Tensor) -> Tensor:
        seen.append((x, flow))
        return warp(x, flow)

    monkeypatch.setattr(samm_layers, "warp", recorded)
    level = seeded(lambda: Level(8, (6, 6), 8, preset="code", narrowing=2), 0)
    g, tap, w = torch.randn(2, 6, 8, 8), torch.randn(2, 6, 8, 8), torch.randn(2, 8)
    told = torch.full((2, 2, 8, 8), 0.03)
    monkeypatch.setattr(level.align, "forward", lambda *_: (told, torch.ones(2, 1, 8, 8)))
    warped, _, flow, steps = level(g, w, tap, None, cycles=3, is_warping=True)
    assert len(seen) == 3
    assert torch.equal(steps, told.expand(3, -1, -1, -1, -1))
    assert all(x is g for x, _ in seen)
    means = [float(f.mean()) for _, f in seen]
    assert means == pytest.approx([0.03, 0.06, MAX_FLOW])  # held within its bound
    assert torch.equal(warped, warp(g, flow))


def test_where_alignment_is_skipped_nothing_is_warped_and_masks_are_told():
    x = images()
    for found in (
        aligned(modules(), x, is_skipped=True),
        aligned(modules(alignment="none"), x),
    ):
        torch.testing.assert_close(found.synth, G.synthesis(E(x)), rtol=1e-5, atol=1e-5)
        assert float(found.mask().std()) > 0
    assert float((aligned(modules(), x).synth - G.synthesis(E(x))).abs().max()) > 1e-3


def test_a_row_does_not_depend_on_its_batch():
    samm, x = modules(), images(4)
    together = samm(G, E, x)
    apart = torch.cat([samm(G, E, part) for part in x.split(1)])
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-5)


def test_print_leaves_the_mask_of_the_first_cycle_and_code_refines_it():
    x = images()
    for preset, is_same in (("paper", True), ("code", False)):
        samm = modules(preset=preset, num=1)
        first, third = (aligned(samm, x, cycles=n).masks[0] for n in (1, 3))
        assert torch.equal(first, third) is is_same


def test_masks_are_composed_as_algorithm_2_says():
    old, new = torch.tensor([0.0, 1.0, 1.0, 0.5]), torch.tensor([1.0, 1.0, 0.0, 1.0])
    assert compose(old, new).tolist() == [0.0, 1.0, 0.0, 0.75]
    coarse, fine = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 4, 4)
    fine[..., :2] = 1
    assert torch.equal(gather((coarse, fine), 4), fine)
    assert gather((coarse,), 8).shape == (1, 1, 8, 8)


def test_standardising_is_instance_normalisation_and_so_is_its_slope():
    x = torch.randn(2, 3, 4, 5, requires_grad=True)
    slopes = []
    for normalise in (standardised, torch.nn.functional.instance_norm):
        y = normalise(x)
        slopes.append((y, *torch.autograd.grad((y * torch.arange(5.0)).sum(), x)))
    for ours, theirs in zip(*slopes, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_card_gives_the_modules_back():
    samm, x = modules(cycles=3), images()
    again = Samm.load(samm.state_dict(), samm.config)
    assert torch.equal(again(G, E, x), samm(G, E, x))
    assert not any(p.requires_grad for p in again.parameters())


def test_a_generator_or_an_encoder_of_another_kind_is_refused():
    samm = modules()
    samm.check(E, G)
    with pytest.raises(ValueError, match="trained for this generator"):
        samm.check(E, stylegan2(8))  # lacks a level
    with pytest.raises(ValueError, match=r"latents \[6, 8\]"):
        samm.check(E, stylegan2(w_dim=4))
    other = ResidualEncoder(resolution=16, num_ws=6, w_dim=8, channels=(5, 6, 8))
    with pytest.raises(ValueError, match="expected an encoder with maps"):
        samm.check(other, G)
    with pytest.raises(ValueError, match="expected an encoder with maps"):
        samm.check(torch.nn.Identity(), G)
    with pytest.raises(ValueError, match="expected a generator with hooks"):
        level_channels(ToyGenerator(resolution=16))


def test_masks_out_of_range_or_of_another_size_are_refused():
    x = images(1)
    with pytest.raises(ValueError, match="expected a mask from 0"):
        blend(x, x, torch.full((1, 1, 16, 16), 1.5))
    with pytest.raises(ValueError, match="expected a mask from 0"):
        blend(x, x, torch.full((1, 1, 16, 16), torch.nan))
    with pytest.raises(ValueError, match="resize them first"):
        blend(x, x, torch.ones(1, 1, 8, 8))
    with pytest.raises(ValueError, match="resize them first"):
        blend(images(1, 8), x, torch.ones(1, 1, 16, 16))


def test_settings_without_a_meaning_are_refused():
    sides = {"sizes_px": (8,), "encoder_channels": (6,), "generator_channels": (6,)}
    sizes = {"resolution": 16, "num_ws": 6, "w_dim": 8}
    with pytest.raises(ValueError, match="1 cycle or more"):
        Samm(**sides, **sizes, cycles=0)
    with pytest.raises(ValueError, match="channels of both networks"):
        Samm(**sides | {"encoder_channels": (6, 4)}, **sizes)
    with pytest.raises(ValueError, match="expected alignment full or none"):
        Samm(**sides, **sizes, alignment="skipped")
