"""InvGAN on tiles: codes in the state, their mean as the latent, edits of every tile."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from invertory.editing.linear import edit
from invertory.generators.state import pack, unpack
from invertory.generators.toy import ToyGenerator
from invertory.inversion import Inversion
from invertory.inversion.drawing import draw_latents
from invertory.inversion.invgan.tiled import InvGANTiled
from invertory.perceptual import PixelPyramid

GENERATOR = ToyGenerator(resolution=16, frequencies=3)
METHOD = InvGANTiled(tiles=2, space="w_plus")


class Exact(nn.Module):
    """The toy's own inverse, as an encoder."""

    resolution, num_ws, w_dim = 16, GENERATOR.num_ws, GENERATOR.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return GENERATOR.invert_exactly(x)


def made(n: int, tiles: int) -> tuple[Tensor, Tensor]:
    """Images of tiles that the generator draws, and their codes."""
    rng = torch.Generator().manual_seed(5)
    codes = torch.randn(n, tiles**2, GENERATOR.num_ws, GENERATOR.w_dim, generator=rng)
    cells = GENERATOR.synthesis(codes.flatten(0, 1)).reshape(n, tiles, tiles, 3, 16, 16)
    return cells.permute(0, 3, 1, 4, 2, 5).reshape(n, 3, 16 * tiles, 16 * tiles), codes


def invert(method: InvGANTiled, images: Tensor, batch_size: int = 4) -> Inversion:
    return method.invert(
        GENERATOR,
        images,
        seeds=range(len(images)),
        perceptual=PixelPyramid(),
        batch_size=batch_size,
        networks={"invgan": Exact()},
    )


def redrawn(method: InvGANTiled, found: Inversion, moved: Tensor | None = None) -> Tensor:
    w_plus = found.latents.expand(-1, GENERATOR.num_ws, -1)
    edited = w_plus if moved is None else moved
    return draw_latents(method, GENERATOR, edited, found.state, origin=w_plus)


def test_every_tile_has_its_code_and_the_latent_is_their_mean() -> None:
    images, codes = made(3, 2)
    found = invert(METHOD, images)
    torch.testing.assert_close(found.state["codes"], codes, rtol=0, atol=1e-4)
    torch.testing.assert_close(found.latents, codes.mean(1), rtol=0, atol=1e-4)
    assert found.terms["mse"].max() < 1e-8
    torch.testing.assert_close(redrawn(METHOD, found), images, rtol=0, atol=1e-4)


def test_one_tile_is_plain_inversion() -> None:
    images, codes = made(2, 1)
    found = invert(replace(METHOD, tiles=1), images)
    torch.testing.assert_close(found.latents, codes[:, 0], rtol=0, atol=1e-4)
    torch.testing.assert_close(redrawn(METHOD, found), GENERATOR.synthesis(found.latents))


@pytest.mark.parametrize(
    ("px", "overlap", "tiles"), [(16, 0, 1), (40, 0, 3), (48, 0, 3), (28, 4, 2)]
)
def test_as_few_tiles_as_cover_the_image_unless_a_number_is_given(
    px: int, overlap: int, tiles: int
) -> None:
    method = replace(METHOD, tiles=0, overlap_px=overlap)
    found = invert(method, torch.zeros(1, 3, px, px))
    assert found.state["codes"].shape[1] == tiles**2
    assert redrawn(method, found).shape[-1] >= px  # nothing is lost
    assert InvGANTiled().tiles == 0


def test_what_whole_tiles_draw_is_found_at_full_size() -> None:
    images, codes = made(2, 4)
    found = invert(replace(METHOD, tiles=0), images)
    torch.testing.assert_close(found.state["codes"], codes, rtol=0, atol=1e-4)


def test_an_edit_moves_every_tile() -> None:
    images, codes = made(2, 2)
    found = invert(METHOD, images)
    normal = nn.functional.normalize(torch.ones(1, GENERATOR.w_dim), dim=1)
    moved = edit(found.latents, normal, 1.5, "1")
    expected = codes.clone()
    expected[:, :, 1] += 1.5 * normal[0]
    tiles = GENERATOR.synthesis(expected.flatten(0, 1))
    image = redrawn(METHOD, found, moved)
    torch.testing.assert_close(image[0, :, :16, 16:], tiles[1], rtol=0, atol=1e-4)
    torch.testing.assert_close(image[1, :, 16:, 16:], tiles[7], rtol=0, atol=1e-4)


def test_the_stored_codes_draw_the_image() -> None:
    images, _ = made(2, 2)
    found = invert(METHOD, images)
    stored = unpack([pack(found.state, row) for row in range(2)])
    w_plus = found.latents
    again = draw_latents(METHOD, GENERATOR, w_plus, stored, origin=w_plus)
    torch.testing.assert_close(again, images, rtol=0, atol=5e-3)  # float16 codes


def test_an_overlap_makes_the_image_smaller() -> None:
    method = replace(METHOD, overlap_px=4)
    found = invert(method, torch.zeros(1, 3, 28, 28))
    assert redrawn(method, found).shape == (1, 3, 28, 28)


def test_an_encoder_into_w_plus_needs_that_space() -> None:
    with pytest.raises(ValueError, match="space: w_plus"):
        invert(replace(METHOD, space="w"), torch.zeros(1, 3, 32, 32))
