"""Pivotal tuning: weights tuned around a pivot, and how their changes are stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invertory.generators.deltas import CODES, DELTA, PEAK, UP, quantise, truncate_all
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.state import kernels, pack, synthesise, tunable_weights
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion import Inversion
from invertory.inversion.in_domain.optimisation import InDomain
from invertory.inversion.pti.method import PivotalTuning
from invertory.perceptual import PixelPyramid


def random_generator() -> StyleGAN2:
    G = StyleGAN2(img_resolution=16, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
    rng = torch.Generator().manual_seed(0)
    for name, tensor in [*G.named_parameters(), *G.named_buffers()]:
        if tensor.ndim > 1 and "resample" not in name:
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=rng))
        elif name.endswith(("affine.bias", "noise_strength")):
            tensor.fill_(0.5)
    return G


G: Any = random_generator()
METHOD = PivotalTuning(
    pivot_steps=5,
    pivot_learning_rate=0.1,
    w_samples=50,
    steps=8,
    rank=2,
    factor_learning_rate=0.05,
    storage="float16",
)
FULL = replace(METHOD, rank=0, learning_rate=0.01)


def targets(n: int = 3) -> Tensor:
    w = torch.randn(n, 1, G.w_dim, generator=torch.Generator().manual_seed(1))
    made = G.synthesis(w.expand(-1, G.num_ws, -1))
    return made + 0.2 * torch.randn(made.shape, generator=torch.Generator().manual_seed(2))


class NamedPixels(PixelPyramid):
    name = "lpips_of_a_test"


def invert(
    method: PivotalTuning, images: Tensor, *, batch_size: int = 3, **given: Any
) -> Inversion:
    return method.invert(
        G,
        images,
        seeds=given.pop("seeds", range(len(images))),
        perceptual=given.pop("perceptual", PixelPyramid()),
        batch_size=batch_size,
        **given,
    )


def drawn(found: Inversion, *, away: float = 0.0, is_plain: bool = False) -> Tensor:
    w_plus = found.latents.expand(-1, G.num_ws, -1) + away
    return synthesise(G, w_plus, {} if is_plain else found.state)


FORMS = {
    "low rank": METHOD,
    "low rank, int8": replace(METHOD, storage="int8"),
    "all weights": FULL,
    "all weights, int8": replace(FULL, storage="int8"),
    "all weights, cut": replace(FULL, stored_rank=2),
    "all weights, cut, int8": replace(FULL, stored_rank=2, storage="int8"),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_stored_state_draws_the_very_image_that_was_measured(form: str) -> None:
    found = invert(FORMS[form], targets())
    mse = (drawn(found) - targets()).square().mean((1, 2, 3))
    torch.testing.assert_close(mse, found.terms["mse"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_tuning_leaves_the_pivot_and_makes_the_image_nearer(form: str) -> None:
    found = invert(FORMS[form], targets())
    begun = invert(replace(FORMS[form], steps=0), targets())
    assert torch.equal(found.latents, begun.latents)
    assert (found.loss < 0.95 * begun.loss).all(), found.loss / begun.loss
    assert found.steps.tolist() == [13, 13, 13] and begun.steps.tolist() == [5, 5, 5]


def test_without_steps_the_image_is_the_pivots() -> None:
    found = invert(replace(METHOD, steps=0), targets())
    torch.testing.assert_close(drawn(found), drawn(found, is_plain=True), rtol=1e-5, atol=1e-5)


def test_an_edit_is_drawn_with_the_tuned_weights() -> None:
    found = invert(METHOD, targets())
    moved, plain = drawn(found, away=0.5), drawn(found, away=0.5, is_plain=True)
    assert not torch.allclose(moved, plain, atol=0.01)
    assert not torch.allclose(moved, drawn(found), atol=0.01)


@pytest.mark.parametrize("method", [METHOD, FULL])
def test_a_row_has_the_change_it_has_alone(method: PivotalTuning) -> None:
    together = invert(method, targets(), batch_size=2)
    alone = invert(method, targets()[1:2], seeds=[1])
    for name, change in together.state.items():
        torch.testing.assert_close(change[1], alone.state[name][0], rtol=0, atol=5e-3)


def test_what_is_tuned_is_every_kernel_or_every_weight() -> None:
    few, all_of_them = invert(METHOD, targets(1)).state, invert(FULL, targets(1)).state
    assert {n.removesuffix(UP) for n in few if n.endswith(UP)} == set(kernels(G))
    assert set(all_of_them) == {name + DELTA for name in tunable_weights(G)}
    moved = {name for name, change in all_of_them.items() if change.abs().max() > 0}
    assert moved == set(all_of_them)


@pytest.mark.parametrize("form", FORMS)
def test_the_bytes_are_those_of_the_form(form: str) -> None:
    state = invert(replace(FORMS[form], steps=1), targets(1)).state
    method = FORMS[form]
    sizes = {"float16": 2, "int8": 1}
    if method.storage == "int8":
        assert {t.dtype for n, t in state.items() if n.endswith(CODES)} == {torch.int8}
        values = sum(t.numel() for n, t in state.items() if n.endswith(CODES))
        rest = sum(2 * t.numel() for n, t in state.items() if not n.endswith(CODES))
    else:
        values, rest = sum(t.numel() for t in state.values()), 0
    whole = sum(weight.numel() for weight in tunable_weights(G).values())
    assert (values < 0.6 * whole) == bool(method.rank or method.stored_rank)
    payload = sizes[method.storage] * values + rest
    assert payload <= len(pack(state, 0)) <= payload + 150 * len(state)


def test_int8_of_the_same_change_is_half_of_float16_and_hardly_worse() -> None:
    found = invert(FULL, targets(1))
    short = replace(found, state=quantise(found.state))
    codes = sum(t.numel() for n, t in short.state.items() if n.endswith(CODES))
    assert codes > 0.8 * sum(t.numel() for t in found.state.values())
    errors = [(drawn(one) - targets(1)).square().mean() for one in (found, short)]
    assert errors[1] < 1.05 * errors[0]


def test_a_cut_keeps_more_the_higher_its_rank() -> None:
    found = invert(FULL, targets(1))
    loss = [
        float(
            (drawn(replace(found, state=truncate_all(found.state, rank))) - drawn(found))
            .square()
            .mean()
        )
        for rank in (1, 2, 4)
    ]
    assert loss[0] > loss[1] > loss[2]


def test_a_image_stops_at_its_lpips_and_at_no_other_distance() -> None:
    method = replace(METHOD, target_lpips=1e3)
    assert invert(method, targets(), perceptual=NamedPixels()).steps.tolist() == [5, 5, 5]
    assert invert(method, targets()).steps.tolist() == [13, 13, 13]


def test_the_regulariser_keeps_other_latents_nearer() -> None:
    w = torch.randn(8, 1, G.w_dim, generator=torch.Generator().manual_seed(5))
    others = w.expand(-1, G.num_ws, -1)

    def moved(method: PivotalTuning) -> float:
        found = invert(method, targets(1))
        state = {name: change.expand(8, *change.shape[1:]) for name, change in found.state.items()}
        return float((synthesise(G, others, state) - G.synthesis(others)).square().mean())

    held = replace(METHOD, locality_weight=10.0)
    assert held.terms == ("mse", "perceptual", "locality")
    assert tuple(invert(held, targets(1)).terms) == held.terms
    assert moved(held) < 0.8 * moved(METHOD)


def test_the_regulariser_is_computed_in_bfloat16_too() -> None:
    held = replace(METHOD, locality_weight=0.1, precision="bfloat16")
    assert invert(held, targets(1)).terms["locality"].isfinite().all()


def test_a_pivot_may_come_from_an_encoder() -> None:
    class Encoder(nn.Module):
        w_dim, num_ws = G.w_dim, G.num_ws

        def forward(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3))[:, None, None].expand(-1, self.num_ws, self.w_dim)

    for pivot in ("encoder", "in_domain"):
        method = replace(METHOD, pivot=pivot)
        assert method.needs == ("encoder",) and method.space == "w_plus"
        found = invert(method, targets(), networks={"encoder": Encoder()})
        assert found.latents.shape == (3, G.num_ws, G.w_dim) and found.is_finite.all()
    assert isinstance(method.pivot_method(), InDomain)
    assert invert(replace(METHOD, pivot="image2stylegan"), targets()).space == "w_plus"
    assert METHOD.needs == () and METHOD.space == "w"


def test_a_broken_image_is_marked_and_the_others_go_on() -> None:
    images = targets()
    images[1] = torch.nan
    for method in (METHOD, replace(FULL, storage="int8")):
        found = invert(method, images)
        assert found.is_finite.tolist() == [True, False, True]
        assert all(torch.isfinite(tensor).all() for tensor in found.state.values())


def test_a_generator_that_does_not_tell_its_weights_is_refused_before_work() -> None:
    class Other:
        num_ws, w_dim, resolution = 4, 8, 16

    with pytest.raises(ValueError, match="with tunable weights, got Other"):
        METHOD.invert(
            Other(),  # type: ignore[arg-type]
            targets(),
            seeds=range(3),
            perceptual=PixelPyramid(),
            batch_size=1,
        )


@pytest.mark.parametrize(("rank", "stored_rank"), [(-1, 0), (0, -1), (4, 2)])
def test_ranks_that_do_not_go_together_are_refused(rank: int, stored_rank: int) -> None:
    with pytest.raises(ValueError, match="stored_rank only with rank 0"):
        PivotalTuning(rank=rank, stored_rank=stored_rank)


def test_peaks_are_kept_for_every_code() -> None:
    state = invert(replace(METHOD, steps=1, storage="int8"), targets(1)).state
    assert {n.removesuffix(CODES) for n in state if n.endswith(CODES)} == {
        n.removesuffix(PEAK) for n in state if n.endswith(PEAK)
    }


@pytest.mark.parametrize("rank", [0, 1])
def test_a_mobile_stylegan_is_tuned_too(rank: int) -> None:
    mobile = MobileStyleGAN(channels=(8, 8), w_dim=8, mapping_layers=1)
    rng = torch.Generator().manual_seed(0)
    for tensor in mobile.parameters():
        tensor.copy_(0.2 * torch.randn(tensor.shape, generator=rng))
    method = replace(METHOD, rank=rank, learning_rate=0.01, preview=True)
    found, begun = (
        m.invert(mobile, targets(2), seeds=[1, 2], perceptual=PixelPyramid(), batch_size=2)
        for m in (method, replace(method, steps=0))
    )
    assert (found.loss < begun.loss).all()
