"""Image2StyleGAN++: the latent first, then noise, and the stored state."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from invertory.generators.state import synthesise
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion import Inversion
from invertory.inversion.image2stylegan_plus import Image2StyleGANPlus
from invertory.perceptual import PixelPyramid


def random_generator() -> StyleGAN2:
    G = StyleGAN2(img_resolution=16, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
    rng = torch.Generator().manual_seed(0)
    for name, tensor in [*G.named_parameters(), *G.named_buffers()]:
        if tensor.ndim > 1 and "resample" not in name:
            tensor.copy_(torch.randn(tensor.shape, generator=rng))
        elif name.endswith(("affine.bias", "noise_strength")):
            tensor.fill_(0.5)
    return G


G = random_generator()
METHOD = Image2StyleGANPlus(steps=8, learning_rate=0.05, noise_steps=15)


def targets() -> Tensor:
    w = torch.randn(3, 1, G.w_dim, generator=torch.Generator().manual_seed(1))
    made = G.synthesis(w.expand(-1, G.num_ws, -1))
    return made + 0.2 * torch.randn(made.shape, generator=torch.Generator().manual_seed(2))


def invert(method: Image2StyleGANPlus, images: Tensor, batch_size: int = 3) -> Inversion:
    return method.invert(
        G,  # type: ignore[arg-type]
        images,
        seeds=range(len(images)),
        perceptual=PixelPyramid(),
        batch_size=batch_size,
    )


def test_noise_leaves_the_latent_and_makes_the_image_nearer() -> None:
    both = invert(METHOD, targets())
    alone = invert(replace(METHOD, noise_steps=0), targets())
    assert torch.equal(both.latents, alone.latents)
    assert (both.terms["mse"] < alone.terms["mse"]).all()
    assert both.steps.tolist() == [23, 23, 23]
    assert not alone.state


def test_the_state_is_one_map_a_layer_and_gives_the_image_that_was_measured() -> None:
    found = invert(METHOD, targets())
    assert {tuple(t.shape) for t in found.state.values()} == {(3, 1, s, s) for s in (4, 8, 16)}
    assert all(name.endswith("noise_const") for name in found.state)
    assert all(tensor.dtype == torch.float16 for tensor in found.state.values())
    image = synthesise(G, found.latents, found.state)  # type: ignore[arg-type]
    mse = (image - targets()).square().mean((1, 2, 3))
    torch.testing.assert_close(mse, found.terms["mse"], rtol=1e-2, atol=0)


def test_a_row_has_the_state_it_has_alone() -> None:
    together, alone = invert(METHOD, targets(), 2), invert(METHOD, targets()[1:2])
    for name, maps in together.state.items():
        torch.testing.assert_close(maps[1], alone.state[name][0], rtol=0, atol=2e-2)


def test_a_preview_has_no_noise() -> None:
    assert not invert(replace(METHOD, preview=True), targets()).state


def test_a_broken_image_is_marked_and_the_others_go_on() -> None:
    images = targets()
    images[1] = torch.nan
    found = invert(METHOD, images)
    assert found.is_finite.tolist() == [True, False, True]
    assert all(torch.isfinite(tensor).all() for tensor in found.state.values())
