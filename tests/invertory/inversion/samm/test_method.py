"""The method samm, with untrained modules."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion import Inversion
from invertory.inversion.drawing import draw_latents
from invertory.inversion.samm.method import SAMM, _warn_about_pose
from invertory.networks.samm.network import Samm
from invertory.perceptual import PixelPyramid
from invertory.training.optimiser import seeded

PX = 16
G = StyleGAN2(z_dim=8, w_dim=8, img_resolution=PX, num_layers=1, channel_table=(8, 6, 4))
G.initialise(torch.Generator().manual_seed(0))


def encoder(channels: tuple[int, ...] = (4, 6, 8)) -> ResidualEncoder:
    def make() -> ResidualEncoder:
        return ResidualEncoder(
            resolution=PX, num_ws=6, w_dim=8, channels=channels, narrow=4, hidden=16
        )

    return seeded(make, 0).eval().requires_grad_(False)


def modules(mask: float | None = None, **how: object) -> Samm:
    made = seeded(lambda: Samm.between(encoder(), G, **how), 1).eval().requires_grad_(False)
    for level in made.levels:
        level.align.head.weight.mul_(30 if mask is None else 0)
        if mask is not None:
            level.align.shift.copy_(torch.tensor([0.0, 0.0, 400 * mask - 200]))
    return made


def networks(samm: Samm | None = None) -> dict[str, nn.Module]:
    return {"encoder": encoder(), "samm": samm or modules()}


def targets(n: int = 3, px: int = PX) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, 3, px, px), generator=rng) / 127.5 - 1


def invert(method: SAMM, x: Tensor, nets: dict[str, nn.Module]) -> Inversion:
    seeds = range(len(x))
    return method.invert(G, x, seeds=seeds, perceptual=PixelPyramid(), batch_size=2, networks=nets)


def test_an_inversion_has_the_input_as_its_state_and_a_mask_to_look_at():
    x = targets()
    found = invert(SAMM(), x, networks())
    assert set(found.state) == {"target"} and found.state["target"].dtype == torch.uint8
    assert torch.equal(found.state["target"].float() / 127.5 - 1, x)
    assert tuple(found.maps) == SAMM.maps == ("mask",)
    mask = found.maps["mask"]
    assert mask.shape == (3, 1, PX, PX) and mask.dtype == torch.float32
    assert float(mask.min()) >= 0 and float(mask.max()) <= 1 and float(mask.std()) > 0
    torch.testing.assert_close(found.latents, encoder()(x), rtol=0, atol=1e-5)


def test_the_loss_told_is_that_of_the_image_as_it_is_drawn():
    x, nets, method = targets(), networks(), SAMM()
    found = invert(method, x, nets)
    made = draw_latents(method, G, found.latents, found.state, networks=nets)
    errors = (made.clamp(-1, 1) - x).square().mean((1, 2, 3))
    torch.testing.assert_close(found.terms["mse"], errors, rtol=1e-4, atol=1e-5)


def test_with_a_mask_of_1_the_input_is_drawn_whatever_the_edit():
    x, nets = targets(), networks(modules(1.0))
    found = invert(SAMM(), x, nets)
    edited = found.latents + 1
    for w_plus in (found.latents, edited):
        made = draw_latents(SAMM(), G, w_plus, found.state, origin=found.latents, networks=nets)
        assert torch.equal(made, x)


def test_with_a_mask_of_0_an_edit_is_the_generators():
    x, nets = targets(), networks(modules(0.0))
    found = invert(SAMM(), x, nets)
    edited = found.latents + 1
    made = draw_latents(SAMM(), G, edited, found.state, origin=found.latents, networks=nets)
    torch.testing.assert_close(made, G.synthesis(edited), rtol=1e-5, atol=1e-5)


def test_flows_and_masks_of_an_edit_are_estimated_anew():
    x, nets, method = targets(), networks(), SAMM()
    found = invert(method, x, nets)
    edited = found.latents.clone()
    edited[0] += 1
    made = draw_latents(method, G, edited, found.state, origin=found.latents, networks=nets)
    parts = method._networks(nets, G)
    expected = method.align(parts, edited[:1], x[:1])
    blended = torch.lerp(expected.synth, x[:1], expected.mask())
    torch.testing.assert_close(made[:1], blended, rtol=0, atol=1e-5)
    plain = draw_latents(method, G, found.latents, found.state, networks=nets)
    torch.testing.assert_close(made[1:], plain[1:], rtol=0, atol=1e-5)


def test_edited_rows_alone_go_unwarped_where_asked():
    x, nets = targets(), networks()
    method = SAMM(align_edits=False)
    found = invert(method, x, nets)
    edited = found.latents.clone()
    edited[0] += 1
    made = draw_latents(method, G, edited, found.state, origin=found.latents, networks=nets)
    skipped = SAMM(alignment="skipped")
    unwarped = draw_latents(skipped, G, edited, found.state, origin=found.latents, networks=nets)
    plain = draw_latents(method, G, found.latents, found.state, networks=nets)
    torch.testing.assert_close(made[:1], unwarped[:1], rtol=0, atol=1e-5)
    torch.testing.assert_close(made[1:], plain[1:], rtol=0, atol=1e-5)


def test_further_iterations_add_what_the_encoder_tells_apart():
    x, nets = targets(), networks()
    found = invert(SAMM(iterations=2), x, nets)
    E = encoder()
    expected = E(x) + E(x) - E(G.synthesis(E(x)))
    torch.testing.assert_close(found.latents, expected, rtol=0, atol=1e-5)


class Residual(nn.Module):
    """Replaces ReStyle's encoder: its residual is half the difference to a latent of ones."""

    num_ws, w_dim = 6, 8

    def residual(self, x: Tensor, synth: Tensor) -> Tensor:
        return torch.full((len(x), 6, 8), 0.5)


def test_a_base_that_iterates_begins_at_the_mean():
    method = SAMM(base="restyle", iterations=3)
    assert method.needs == ("encoder", "samm", "restyle")
    found = invert(method, targets(), networks() | {"restyle": Residual()})
    expected = (G.w_avg + 1.5).expand(3, 6, -1)
    torch.testing.assert_close(found.latents, expected)


def test_targets_coarser_than_the_generator_are_kept_as_they_came():
    found = invert(SAMM(), targets(2, px=8), networks())
    assert found.state["target"].shape == (2, 3, 8, 8)
    made = draw_latents(SAMM(), G, found.latents, found.state, networks=networks())
    assert made.shape == (2, 3, PX, PX)


@pytest.mark.parametrize("wanted", ["full", "none"])
def test_an_alignment_that_was_not_trained_is_refused(wanted):
    nets = networks(modules(alignment="none" if wanted == "full" else "full"))
    with pytest.raises(ValueError, match=f"trained with alignment {wanted!r}"):
        invert(SAMM(alignment=wanted), targets(1), nets)
    for alignment in ("auto", "skipped"):
        assert invert(SAMM(alignment=alignment), targets(1), nets).is_finite.all()


def test_what_does_not_fit_is_refused_before_any_work():
    x = targets(1)
    with pytest.raises(ValueError, match="expected a network 'samm', got none"):
        invert(SAMM(), x, {"encoder": encoder()})
    with pytest.raises(ValueError, match="got a Identity"):
        invert(SAMM(), x, {"encoder": encoder(), "samm": nn.Identity()})
    with pytest.raises(ValueError, match="expected an encoder with maps"):
        invert(SAMM(), x, networks() | {"encoder": encoder((4, 5, 8))})
    with pytest.raises(ValueError, match="iterations of 1 or more"):
        SAMM(iterations=0)


def test_a_state_of_another_method_or_size_is_refused():
    x, nets = targets(2), networks()
    found = invert(SAMM(), x, nets)
    draw = replace(SAMM()).draw
    for state in ({"noise": x}, {"target": x[:1]}, {"target": x[..., :8]}):
        with pytest.raises(ValueError, match="the state of their inversion"):
            draw(G, found.latents, state, origin=found.latents, networks=nets)


def test_that_warps_undo_pose_is_told_once_and_of_edits_alone(caplog):
    _warn_about_pose.cache_clear()
    x, nets = targets(2), networks()
    found = invert(SAMM(), x, nets)
    for moved in (0.0, 1.0, 2.0):
        edited = found.latents + moved
        draw_latents(SAMM(), G, edited, found.state, origin=found.latents, networks=nets)
        assert len(caplog.records) == min(moved, 1)
    assert caplog.records[0].levelno == logging.WARNING
    assert "align_edits: false" in caplog.text


def test_unwarped_edits_are_not_warned_of(caplog):
    x, nets, method = targets(2), networks(), SAMM(align_edits=False)
    found = invert(method, x, nets)
    draw_latents(method, G, found.latents + 1, found.state, origin=found.latents, networks=nets)
    assert not caplog.records
