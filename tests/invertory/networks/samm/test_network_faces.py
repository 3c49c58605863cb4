"""SAMM on a tiny random MobileStyleGAN: the modules, the method, and its previews."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders import ResidualEncoder
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import untrained_head
from invertory.inversion.drawing import draw_latents
from invertory.inversion.samm.method import SAMM
from invertory.networks.samm.network import Samm, level_channels, synthesise_at
from invertory.perceptual import PixelPyramid
from invertory.training.optimiser import seeded


def mobile() -> MobileStyleGAN:
    """32 px, with a preview of 8 px."""
    made = MobileStyleGAN(channels=(16, 16, 8), w_dim=12, mapping_layers=2)
    rng = torch.Generator().manual_seed(0)
    for tensor in made.state_dict().values():
        tensor.copy_(1.5 * torch.randn(tensor.shape, generator=rng))
    return made.attach_preview(untrained_head(made, 8))


def encoder_of(G: MobileStyleGAN) -> ResidualEncoder:
    def make() -> ResidualEncoder:
        sizes = {"channels": (4, 6, 8), "narrow": 4, "hidden": 16}
        return ResidualEncoder(resolution=16, num_ws=G.num_ws, w_dim=G.w_dim, **sizes)

    return seeded(make, 0).eval().requires_grad_(False)


G = mobile()
E = encoder_of(G)


def modules(mask: float | None = None) -> Samm:
    """Networks with random flows and masks, or with masks of exactly 0 or 1."""
    made = seeded(lambda: Samm.between(E, G), 1).eval().requires_grad_(False)
    for level in made.levels:
        level.align.head.weight.mul_(30 if mask is None else 0)
        if mask is not None:
            level.align.shift.copy_(torch.tensor([0.3, -0.3, 400 * mask - 200]))
    return made


def images(px: int = 32, n: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, 3, px, px), generator=rng) / 127.5 - 1


def test_levels_are_those_of_the_encoder_and_the_generator():
    assert level_channels(G) == {8: 16, 16: 8}
    samm = modules()
    assert (samm.sizes_px, samm.generator_channels, samm.resolution) == ((8, 16), (16, 8), 32)


@pytest.mark.parametrize("px", [32, 8])
def test_mask_0_gives_the_generators_image_and_mask_1_the_input(px):
    x, w_plus = images(px), E(images(px))
    plain = synthesise_at(G, w_plus, px)
    assert plain.shape == x.shape
    # pictures of float32 are held to 2e-5 of the largest value, here 1600
    limit = 2e-5 * float(plain.abs().max())
    torch.testing.assert_close(modules(0)(G, E, x), plain, rtol=0, atol=limit)
    assert torch.equal(modules(1)(G, E, x), x)


def test_a_warp_changes_the_image_and_its_preview():
    samm, taps = modules(), E.tapped(images())[1]
    w_plus = torch.randn(2, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(5))
    for px in (32, 8):
        # the preview stops before the level of 16 px
        found = samm.align(G, w_plus, taps, size_px=px)
        assert [m.shape[-1] for m in found.masks] == ([8, 16] if px == 32 else [8])
        assert float((found.synth - synthesise_at(G, w_plus, px)).abs().max()) > 1e-3


def test_the_method_inverts_draws_and_edits_with_it():
    nets: dict[str, nn.Module] = {"encoder": E, "samm": modules()}
    x, method = images(), SAMM()
    found = method.invert(
        G, x, seeds=range(2), perceptual=PixelPyramid(), batch_size=1, networks=nets
    )
    made = draw_latents(method, G, found.latents, found.state, networks=nets)
    told = (made.clamp(-1, 1) - x).square().mean((1, 2, 3))
    torch.testing.assert_close(found.terms["mse"], told, rtol=1e-4, atol=1e-5)
    edited = draw_latents(
        method, G, found.latents + 1, found.state, origin=found.latents, networks=nets
    )
    assert not torch.allclose(edited, made)
    small = method.invert(
        G, images(16), seeds=range(2), perceptual=PixelPyramid(), batch_size=2, networks=nets
    )
    assert small.maps["mask"].shape == (2, 1, 16, 16)  # no larger than what it is a map of
    kept = {"encoder": E, "samm": modules(1)}
    same = draw_latents(
        method, G, found.latents + 1, found.state, origin=found.latents, networks=kept
    )
    assert torch.equal(same, x)
