"""Grids of tiles, and images inverted tile by tile."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invertory.editing.tiling import Grid, TiledPair, draw_tiles
from invertory.generators.toy import ToyGenerator

GENERATOR = ToyGenerator(resolution=16, frequencies=3)


class Exact(nn.Module):
    """The toy's own inverse, as an encoder."""

    resolution, num_ws, w_dim = 16, GENERATOR.num_ws, GENERATOR.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return GENERATOR.invert_exactly(x)


def images(n: int, px: int) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize(("tiles", "px"), [(1, 8), (2, 8), (4, 5), (3, 1)])
def test_tiles_put_together_give_the_image(tiles: int, px: int) -> None:
    grid = Grid(tiles=tiles, tile_px=px)
    assert grid.size_px == tiles * px
    whole = images(3, grid.size_px)
    assert torch.equal(grid.join(grid.cut(whole)), whole)


@pytest.mark.parametrize(("tiles", "px", "overlap"), [(2, 8, 3), (4, 8, 2), (3, 6, 5), (2, 4, 1)])
def test_blended_tiles_of_a_image_give_the_image(tiles: int, px: int, overlap: int) -> None:
    grid = Grid(tiles=tiles, tile_px=px, overlap_px=overlap)
    whole = images(2, grid.size_px)
    torch.testing.assert_close(grid.join(grid.cut(whole)), whole, rtol=0, atol=1e-5)


def test_tiles_go_row_by_row_from_the_top_left() -> None:
    whole = torch.zeros(2, 3, 4, 4)
    whole[0, :, :2, 2:] = 1  # the second tile
    whole[1, :, 2:, :2] = 1  # the third
    means = Grid(tiles=2, tile_px=2).cut(whole).mean((1, 2, 3))
    assert means.tolist() == [0, 1, 0, 0, 0, 0, 1, 0]


def test_a_blend_goes_linearly_from_one_tile_to_the_next() -> None:
    grid = Grid(tiles=2, tile_px=6, overlap_px=3)
    tiles = torch.zeros(4, 1, 6, 6)
    tiles[1] = tiles[3] = 1  # the right ones
    row = grid.join(tiles)[0, 0, 3]
    torch.testing.assert_close(row, torch.tensor([0, 0, 0, 1 / 6, 0.5, 5 / 6, 1, 1, 1]))


def test_borders_are_where_tiles_begin_and_end() -> None:
    assert Grid(tiles=4, tile_px=8).borders == (8, 16, 24)
    assert Grid(tiles=2, tile_px=8, overlap_px=2).borders == (6, 8)
    assert Grid(tiles=1, tile_px=8).borders == ()


@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("shape", [(16, 24), (17, 40), (5, 30), (8, 8), (23, 7)])
def test_tiles_cover_any_image_and_give_it_back(shape: tuple[int, int], overlap: int) -> None:
    grid = Grid.over(shape, tile_px=8, overlap_px=overlap)
    whole = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(2))
    tiles = grid.cut(whole)
    assert tiles.shape == (2 * grid.num_tiles, 3, 8, 8)
    assert grid.fit(whole) is whole
    torch.testing.assert_close(grid.join(tiles), whole, rtol=0, atol=1e-5)
    if not overlap:
        assert grid.num_tiles == -(-shape[0] // 8) * -(-shape[1] // 8)


def test_beyond_the_image_its_edge_is_repeated() -> None:
    grid = Grid.over((2, 3), tile_px=2)
    right = grid.cut(torch.arange(6.0).view(1, 1, 2, 3))[1, 0]
    assert right.tolist() == [[2, 2], [5, 5]]


def test_rows_of_tiles_may_be_longer_than_columns() -> None:
    grid = Grid(tiles=2, columns=3, tile_px=4)
    assert (grid.shape_px, grid.num_tiles) == ((8, 12), 6)
    whole = torch.rand(1, 3, 16, 24)
    assert grid.fit(whole).shape == (1, 3, 8, 12)
    with pytest.raises(ValueError, match="of the proportions 8 x 12"):
        grid.fit(images(1, 16))
    with pytest.raises(ValueError, match="of at most 8 x 12 px"):
        Grid(tiles=2, columns=3, tile_px=4, crop_px=(8, 13))


def test_a_pair_keeps_the_size_of_wide_images() -> None:
    pair = TiledPair.over((20, 40), Exact(), GENERATOR, batch_size=4)
    constant = torch.full((2, 3, 20, 40), 0.5)
    codes = pair.codes(constant)
    assert codes.shape[:2] == (2, 6)
    torch.testing.assert_close(pair.images(codes), constant, rtol=0, atol=1e-5)


def test_images_of_other_sizes_are_brought_to_the_grid() -> None:
    grid = Grid(tiles=2, tile_px=8)
    assert grid.fit(images(1, 48)).shape[-1] == grid.fit(images(1, 5)).shape[-1] == 16
    coarse = images(1, 16)
    fine = coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)
    torch.testing.assert_close(grid.fit(fine), coarse)


@pytest.mark.parametrize(
    "broken", [{"tiles": 0}, {"columns": -1}, {"overlap_px": 8}, {"overlap_px": -1}]
)
def test_a_grid_that_cannot_be_is_refused(broken: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected 1 tile or more"):
        Grid(**{"tiles": 2, "tile_px": 8} | broken)


def test_tiles_of_another_size_are_refused() -> None:
    grid = Grid(tiles=2, tile_px=8)
    with pytest.raises(ValueError, match="resize them with"):
        grid.cut(images(1, 8))
    with pytest.raises(ValueError, match="expected tiles"):
        grid.join(images(4, 4))
    with pytest.raises(ValueError, match="square"):
        grid.fit(images(1, 16)[..., :8])


def test_one_tile_is_the_pair_itself() -> None:
    pair, whole = TiledPair.of(Exact(), GENERATOR), images(2, 16)
    codes = pair.codes(whole)
    torch.testing.assert_close(codes[:, 0], GENERATOR.invert_exactly(whole))
    torch.testing.assert_close(pair.images(codes), GENERATOR.synthesis(codes[:, 0]))


@pytest.mark.parametrize("overlap", [0, 4])
def test_what_the_generator_draws_is_found_again_tile_by_tile(overlap: int) -> None:
    pair = TiledPair.of(Exact(), GENERATOR, tiles=3, overlap_px=overlap, batch_size=4)
    constant = torch.full((2, 3, pair.grid.size_px, pair.grid.size_px), 0.5)
    codes = pair.codes(constant)
    assert codes.shape == (2, 9, GENERATOR.num_ws, GENERATOR.w_dim)
    torch.testing.assert_close(pair.images(codes), constant, rtol=0, atol=1e-5)


def test_the_size_of_a_batch_changes_nothing() -> None:
    few, many = (TiledPair.of(Exact(), GENERATOR, tiles=2, batch_size=n) for n in (3, 64))
    whole = images(2, 32)
    assert torch.equal(few.codes(whole), many.codes(whole))
    assert torch.equal(few.images(few.codes(whole)), many.images(many.codes(whole)))


def test_a_bad_tile_takes_the_mean_and_leaves_the_others() -> None:
    pair, whole = TiledPair.of(Exact(), GENERATOR, tiles=2), images(1, 32)
    clean = pair.codes(whole)
    whole[0, 0, 20, 20] = torch.nan  # in the fourth tile
    codes = pair.codes(whole)
    assert torch.equal(codes[:, :3], clean[:, :3])
    assert torch.equal(codes[0, 3], GENERATOR.w_avg.expand(GENERATOR.num_ws, -1))


def test_codes_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="the grid that the codes"):
        draw_tiles(GENERATOR, Grid(tiles=2, tile_px=16), torch.zeros(1, 9, 1, GENERATOR.w_dim))
