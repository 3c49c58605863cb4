"""Masked changes of features: the available spaces, how they draw, and what an edit keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from invertory.generators import Generator
from invertory.generators.deltas import CODES
from invertory.generators.f_space import (
    SPACES,
    Features,
    default_spaces,
    f_spaces,
    features_of,
    masks_of,
    record_features,
    resolve_spaces,
    space_name,
    synthesise_layer_aware,
    synthesise_with,
)
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import untrained_head
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator


def stylegan2() -> StyleGAN2:
    G = StyleGAN2(img_resolution=32, z_dim=8, w_dim=8, num_layers=1, channel_base=256)
    return G.initialise(torch.Generator().manual_seed(1))


def mobile_stylegan() -> MobileStyleGAN:
    generator = MobileStyleGAN(channels=(16, 16, 8), w_dim=12, mapping_layers=2)
    rng = torch.Generator().manual_seed(0)
    for tensor in generator.state_dict().values():
        tensor.copy_(0.5 * torch.randn(tensor.shape, generator=rng))
    return generator


GENERATORS: dict[str, Generator] = {"stylegan2": stylegan2(), "mobile_stylegan": mobile_stylegan()}
both = pytest.mark.parametrize("name", GENERATORS)


def latents(generator: Generator, seed: int, n: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, generator.num_ws, generator.w_dim, generator=rng)


def features(generator: Generator, mask: float, delta: float, n: int = 2) -> Features:
    """The same mask everywhere, and noise of that size as deltas."""
    rng = torch.Generator().manual_seed(5)
    shapes = dict(f_spaces(generator).values())
    return Features(
        {b: mask * delta * torch.randn(n, *s, generator=rng) for b, s in shapes.items()},
        {b: torch.full((n, 1, *s[1:]), mask) for b, s in shapes.items()},
    )


def test_the_spaces_go_by_resolution() -> None:
    assert f_spaces(GENERATORS["stylegan2"]) == {
        "F2": ("b8", (32, 8, 8)),
        "F4": ("b16", (16, 16, 16)),
    }
    wide = StyleGAN2(z_dim=4, w_dim=4, num_layers=1, channel_base=1024, channel_max=4)
    assert default_spaces(wide) == ("W+", "F4", "F6", "F8", "F10")
    portraits = StyleGAN2(z_dim=4, w_dim=4, img_resolution=64, num_layers=1, channel_base=64)
    assert default_spaces(portraits) == ("W+", "F2", "F4", "F6")
    assert default_spaces(ToyGenerator()) == ("W+",)


def test_spaces_come_in_order_and_unknown_ones_are_refused() -> None:
    G = GENERATORS["stylegan2"]
    assert resolve_spaces(G, ["F4", "W+"]) == ("W+", "F4")
    assert resolve_spaces(G, []) == default_spaces(G)
    with pytest.raises(ValueError, match=r"W\+, F2, F4.*got F10.*32 px"):
        resolve_spaces(G, ["W+", "F10"])
    with pytest.raises(ValueError, match="each once"):
        resolve_spaces(G, ["F2", "F2"])


@both
def test_zero_deltas_are_plain_synthesis(name: str) -> None:
    G = GENERATORS[name]
    w_plus = latents(G, 1)
    drawn = synthesise_with(G, w_plus, features(G, 1.0, 0.0))
    torch.testing.assert_close(drawn, G.synthesis(w_plus), rtol=0, atol=0)
    assert torch.equal(synthesise_with(G, w_plus, Features({}, {})), G.synthesis(w_plus))


@both
def test_a_delta_changes_its_own_row(name: str) -> None:
    G = GENERATORS[name]
    w_plus, changed = latents(G, 1), features(G, 1.0, 1.0)
    for delta in changed.deltas.values():
        delta[1] = 0
    moved = (synthesise_with(G, w_plus, changed) - G.synthesis(w_plus)).abs().amax((1, 2, 3))
    assert moved[0] > 1e-3
    assert moved[1] == 0


@both
@pytest.mark.parametrize("keep_rgb", [True, False])
def test_an_edit_with_empty_masks_is_the_plain_edit(name: str, keep_rgb: bool) -> None:
    G = GENERATORS[name]
    w_plus, origin = latents(G, 1), latents(G, 2)
    drawn = synthesise_layer_aware(G, w_plus, features(G, 0.0, 1.0), origin, keep_rgb=keep_rgb)
    torch.testing.assert_close(drawn, G.synthesis(w_plus))


@both
@pytest.mark.parametrize("keep_rgb", [True, False])
@pytest.mark.parametrize("mask", [1.0, 0.5])
def test_an_edit_to_where_it_was_is_no_edit(name: str, keep_rgb: bool, mask: float) -> None:
    G = GENERATORS[name]
    origin, changed = latents(G, 2), features(G, mask, 1.0)
    before = record_features(G, origin, changed)
    nearly = origin.clone()
    nearly[0, 0, 0] += 1e-7  # drawn like an edit, not like a plain image
    drawn = synthesise_layer_aware(G, nearly, changed, origin, keep_rgb=keep_rgb, before=before)
    plain = synthesise_with(G, origin, changed)
    torch.testing.assert_close(drawn, plain, rtol=0, atol=2e-3 * float(plain.abs().max()))


def test_a_full_mask_keeps_the_recorded_features_and_with_them_every_row_below() -> None:
    G = stylegan2()
    origin, whole = latents(G, 2), features(G, 1.0, 1.0)
    w_plus = origin.clone()
    w_plus[:, :5] += 1  # rows of b4, b8 and of b16 before its RGB
    drawn = synthesise_layer_aware(G, w_plus, whole, origin, keep_rgb=True)
    torch.testing.assert_close(drawn, synthesise_with(G, origin, whole))
    without = synthesise_layer_aware(G, w_plus, whole, origin, keep_rgb=False)
    assert (without - drawn).abs().max() > 1e-2  # the skip connections show the edit
    w_plus[:, -1] += 1  # a row above every F layer
    assert (
        synthesise_layer_aware(G, w_plus, whole, origin, keep_rgb=True) - drawn
    ).abs().max() > 1e-2


def test_a_full_mask_of_a_mobile_stylegan_keeps_all_rows_below() -> None:
    G = mobile_stylegan()
    origin, whole = latents(G, 2), features(G, 1.0, 1.0)
    w_plus = origin.clone()
    w_plus[:, :-1] += 1  # only the output's own row is above b16
    drawn = synthesise_layer_aware(G, w_plus, whole, origin, keep_rgb=True)
    torch.testing.assert_close(drawn, synthesise_with(G, origin, whole))


def test_a_preview_takes_hooks_too() -> None:
    from invertory.generators.f_space import hooks_of

    G = mobile_stylegan()
    G.attach_preview(untrained_head(G, 8))
    w_plus = latents(G, 1)
    changed = features(G, 1.0, 1.0)
    assert (G.preview(w_plus, hooks=hooks_of(changed)) - G.preview(w_plus)).abs().max() > 1e-3


def test_masks_partition_the_image() -> None:
    G = GENERATORS["stylegan2"]
    choice = torch.zeros(1, 32, 32, dtype=torch.int64)
    choice[:, :16], choice[:, 16:, 16:] = 1, 2
    masks = masks_of(G, choice, ("W+", "F2", "F4"))
    assert masks["b8"].shape == (1, 1, 8, 8)
    assert masks["b16"].shape == (1, 1, 16, 16)
    assert (masks["b8"][:, :, :3] == 1).all()
    assert (masks["b16"][:, :, 10:, 10:] == 1).all()
    assert (masks["b16"][:, :, :6] == 0).all()
    with pytest.raises(ValueError, match="from 0 to 2"):
        masks_of(G, choice + 1, ("W+", "F2", "F4"))


def test_a_state_is_stored_in_8_bits_and_read_back() -> None:
    G = GENERATORS["stylegan2"]
    before = features(G, 1.0, 1.0)
    state = before.stored()
    assert state[f"delta.b16{CODES}"].dtype == torch.int8
    after = features_of(G, state, 2)
    for block, delta in before.deltas.items():
        assert (after.deltas[block] - delta).abs().max() < delta.abs().max() / 100
        assert torch.equal(after.masks[block], before.masks[block])


def test_foreign_states_and_bad_masks_are_refused() -> None:
    G = GENERATORS["stylegan2"]
    good = features(G, 1.0, 1.0)
    names = {f"delta.{b}": d for b, d in good.deltas.items()}
    masks = {f"mask.{b}": m for b, m in good.masks.items()}
    assert features_of(G, names | masks, 2)
    with pytest.raises(ValueError, match="blocks among b8, b16"):
        features_of(G, names, 2)
    with pytest.raises(ValueError, match="blocks among none"):
        features_of(ToyGenerator(), names | masks, 2)
    with pytest.raises(ValueError, match=r"expected delta.b8 \[3, 32, 8, 8\]"):
        features_of(G, names | masks, 3)
    with pytest.raises(ValueError, match="scale it"):
        features_of(G, names | {name: 2 * mask for name, mask in masks.items()}, 2)
    with pytest.raises(ValueError, match=r"expected mask.b8 \[2, 1, 8, 8\]"):
        small = replace(good, masks={b: m[..., 1:] for b, m in good.masks.items()})
        features_of(G, small.stored(), 2)


def drawings(features: Features) -> list[Callable[[], Tensor]]:
    G = GENERATORS["stylegan2"]
    w_plus, origin = latents(G, 1), latents(G, 2)
    return [
        lambda: synthesise_with(G, w_plus, features),
        lambda: synthesise_layer_aware(G, w_plus, features, origin, keep_rgb=False),
        lambda: synthesise_layer_aware(G, origin, features, origin, keep_rgb=False),
    ]


@pytest.mark.parametrize("mask", [1.7, -0.1, torch.nan])
def test_masks_outside_their_range_are_not_drawn(mask: float) -> None:
    for draw in drawings(features(GENERATORS["stylegan2"], mask, 1.0)):
        with pytest.raises(ValueError, match=r"expected mask.b8 from 0 .* scale it"):
            draw()


def test_features_of_another_generator_are_not_drawn() -> None:
    foreign = Features({"b128": torch.zeros(2, 3, 128, 128)}, {"b128": torch.ones(2, 1, 128, 128)})
    for draw in drawings(foreign):
        with pytest.raises(ValueError, match="blocks among b8, b16, got deltas of b128"):
            draw()


def test_features_of_other_rows_are_not_drawn() -> None:
    for draw in drawings(features(GENERATORS["stylegan2"], 1.0, 1.0, n=3)):
        with pytest.raises(ValueError, match=r"expected delta.b8 \[2, 32, 8, 8\]"):
            draw()


def test_masks_may_be_left_out_where_nothing_is_edited() -> None:
    G = GENERATORS["stylegan2"]
    w_plus, whole = latents(G, 1), features(G, 1.0, 1.0)
    bare = replace(whole, masks={})
    assert torch.equal(synthesise_with(G, w_plus, bare), synthesise_with(G, w_plus, whole))
    with pytest.raises(ValueError, match="masks of none"):
        synthesise_layer_aware(G, w_plus, bare, latents(G, 2), keep_rgb=False)


def test_the_names_of_all_spaces_are_those_of_their_sizes() -> None:
    names = ["W+", *(space_name(px) for px in (8, 16, 32, 64, 128))]
    assert names == list(SPACES)
