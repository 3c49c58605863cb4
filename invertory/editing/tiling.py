"""Tiling: one code for each of n x n patches of an image n times larger than the generator's.

InvGAN: Invertable GANs, Ghosh, Zietlow, Black, Davis and Hu 2021, https://arxiv.org/abs/2112.04598,
section 3.3. Patches are inverted and drawn separately and placed side by side. No network has
learnt to join them, so seams may show (`invertory/metrics/seams.py`). The overlap, in which
neighbours are blended linearly, is ours: the paper has none. Tiles are numbered row by row from the
top left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import fold, interpolate, pad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invertory.encoders import Encoder
    from invertory.generators import Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`tiles` down and `columns` across, of `tile_px` pixels; neighbours share `overlap_px`.

    If the tiles extend beyond an image of `crop_px`, its last pixels are repeated before it is cut,
    and the pixels drawn there are dropped.
    """

    tiles: int
    tile_px: int
    overlap_px: int = 0
    columns: int = 0  # 0: the same number as down
    crop_px: tuple[int, int] | None = None  # height, width; None: all that the tiles cover

    def __post_init__(self) -> None:
        is_whole = self.tiles >= 1 and self.tile_px >= 1 and self.columns >= 0
        if not is_whole or not 0 <= self.overlap_px < self.tile_px:
            raise ValueError(
                "expected 1 tile or more and an overlap from 0 to less than a tile's "
                f"{self.tile_px} px, got {self.tiles} tiles a side and an overlap of "
                f"{self.overlap_px} px"
            )
        most = self._covered_px
        if not all(0 < px <= edge for px, edge in zip(self.shape_px, most, strict=True)):
            raise ValueError(
                f"expected an image of at most {most[0]} x {most[1]} px, which the tiles cover, "
                f"got {self.crop_px}: build the grid with `Grid.over`"
            )

    @classmethod
    def over(cls, shape_px: Sequence[int], *, tile_px: int, overlap_px: int = 0) -> Grid:
        """Build the grid of as few tiles as cover an image of (height, width)."""
        one = cls(tiles=1, tile_px=tile_px, overlap_px=overlap_px)
        down, across = (1 + -(-max(px - tile_px, 0) // one.stride_px) for px in shape_px)
        height, width = shape_px
        return replace(one, tiles=down, columns=across, crop_px=(height, width))

    @property
    def stride_px(self) -> int:
        return self.tile_px - self.overlap_px

    @property
    def shape_px(self) -> tuple[int, int]:
        """(height, width) of the whole image."""
        return self.crop_px or self._covered_px

    @property
    def size_px(self) -> int:
        """Height of the whole image; its side if it is square."""
        return self.shape_px[0]

    @property
    def num_tiles(self) -> int:
        return self.tiles * self._across

    @property
    def borders(self) -> tuple[int, ...]:
        """First pixel after each edge of a tile in a square image."""
        starts = [i * self.stride_px for i in range(1, self.tiles)]
        ends = {start + self.overlap_px for start in starts}
        return tuple(sorted(px for px in {*starts, *ends} if px < self.size_px))

    def fit(self, images: Tensor) -> Tensor:
        """Resize [N, C, h, w] => [N, C, *shape_px] of equal proportions: area down, bilinear up.

        Raises `ValueError` for other proportions.
        """
        height, width = self.shape_px
        self._check_proportions(images)
        if images.shape[2:] == (height, width):
            return images
        mode = "area" if images.shape[2] > height else "bilinear"
        return interpolate(images, size=(height, width), mode=mode)

    def _check_proportions(self, images: Tensor) -> None:
        """Check that the images have the grid's proportions, except for rounding."""
        height, width = self.shape_px
        is_batch = images.ndim == 4 and images.numel() > 0
        if is_batch:
            h, w = images.shape[2:]
            if 2 * abs(h * width - w * height) < min(h, w):
                return
        kind = "square images [N, C, H, H]" if height == width else "images"
        raise ValueError(
            f"expected {kind} of the proportions {height} x {width}, got {list(images.shape)}: "
            "align them first, or build the grid with `Grid.over`"
        )

    def cut(self, images: Tensor) -> Tensor:
        """Cut [N, C, *shape_px] => tiles [N * num_tiles, C, tile_px, tile_px].

        Raises `ValueError` for another size.
        """
        height, width = self.shape_px
        if images.ndim != 4 or images.shape[2:] != (height, width):
            raise ValueError(
                f"expected images [N, C, {height}, {width}], got {list(images.shape)}: resize "
                "them with `Grid.fitted`"
            )
        down, across = self._covered_px
        whole = pad(images, (0, across - width, 0, down - height), mode="replicate")
        rows = whole.unfold(2, self.tile_px, self.stride_px)
        cells = rows.unfold(3, self.tile_px, self.stride_px)  # [N, C, down, across, px, px]
        return cells.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).contiguous()

    def join(self, tiles: Tensor) -> Tensor:
        """Join [N * num_tiles, C, tile_px, tile_px] => [N, C, *shape_px]; the inverse of `cut`.

        Raises `ValueError` for another size.
        """
        if tiles.ndim != 4 or tiles.shape[2:] != (self.tile_px, self.tile_px):
            raise ValueError(
                f"expected tiles [N * {self.num_tiles}, C, {self.tile_px}, {self.tile_px}], got "
                f"{list(tiles.shape)}: draw them with the generator that the grid was made for"
            )
        tiles = tiles.float()
        weight = self._ramp.to(tiles)
        weight = weight[:, None] * weight  # [tile_px, tile_px]
        cells = torch.unflatten(tiles * weight, 0, (-1, self.num_tiles))  # [N, num_tiles, C, ...]
        total = weight.expand(1, self.num_tiles, 1, -1, -1)
        height, width = self.shape_px
        return (self._sum(cells) / self._sum(total))[..., :height, :width]

    @property
    def _across(self) -> int:
        return self.columns or self.tiles

    @property
    def _covered_px(self) -> tuple[int, int]:
        """(height, width) of all tiles."""
        down, across = (
            self.tile_px + (num - 1) * self.stride_px for num in (self.tiles, self._across)
        )
        return down, across

    @property
    def _ramp(self) -> Tensor:
        """Weights [tile_px] in (0, 1], rising over the overlap and falling again.

        `join` normalises their sums to 1.
        """
        ramp = torch.ones(self.tile_px)
        for i in range(self.overlap_px):
            share = (i + 0.5) / self.overlap_px
            ramp[i] = min(float(ramp[i]), share)
            ramp[-1 - i] = min(float(ramp[-1 - i]), share)
        return ramp

    def _sum(self, cells: Tensor) -> Tensor:
        """[N, num_tiles, C, tile_px, tile_px] => the area that they cover, with overlaps summed."""
        columns = cells.permute(0, 2, 3, 4, 1).flatten(1, 3)  # [N, C * tile_px^2, num_tiles]
        size, tile = self._covered_px, (self.tile_px, self.tile_px)
        summed: Tensor = fold(columns, size, tile, stride=self.stride_px)
        return summed


@dataclass(frozen=True, slots=True)
class TiledPair:
    """An encoder and its generator on patches: images to tiled codes and back.

    A grid of one tile is the pair itself. `rows` is the number of rows of a tile's code: 1 in W,
    `num_ws` in W+. At most `batch_size` tiles run through a network at once.
    """

    encoder: Encoder
    generator: Generator
    grid: Grid
    rows: int = 1
    batch_size: int = 64

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        generator: Generator,
        *,
        tiles: int = 1,
        overlap_px: int = 0,
        batch_size: int = 64,
    ) -> TiledPair:
        """Pair with tiles of the generator's resolution, in the encoder's space."""
        grid = Grid(tiles=tiles, tile_px=generator.resolution, overlap_px=overlap_px)
        return cls(encoder, generator, grid, _rows(encoder, generator), batch_size)

    @classmethod
    def over(
        cls,
        shape_px: Sequence[int],
        encoder: Encoder,
        generator: Generator,
        *,
        overlap_px: int = 0,
        batch_size: int = 64,
    ) -> TiledPair:
        """Pair with as few tiles as cover images of (height, width), which keep that size."""
        grid = Grid.over(shape_px, tile_px=generator.resolution, overlap_px=overlap_px)
        return cls(encoder, generator, grid, _rows(encoder, generator), batch_size)

    def codes(self, images: Tensor) -> Tensor:
        """[N, 3, H, W] in [-1, 1] => [N, num_tiles, rows, w_dim]; the mean w where not finite."""
        tiles = self.grid.cut(self.grid.fit(images))
        codes = torch.cat(
            [self.encoder(some) for some in torch.split(tiles, self.batch_size)]
        ).float()
        is_finite = torch.isfinite(codes).all(2).all(1)[:, None, None]
        codes = torch.where(is_finite, codes, self.generator.w_avg.to(codes))
        codes = codes.expand(-1, self.rows, -1)
        return torch.unflatten(codes, 0, (-1, self.grid.num_tiles))

    def images(self, codes: Tensor) -> Tensor:
        """[N, num_tiles, rows or num_ws, w_dim] => [N, 3, *shape_px], about [-1, 1]."""
        return draw_tiles(self.generator, self.grid, codes, batch_size=self.batch_size)


def _rows(encoder: Encoder, generator: Generator) -> int:
    """Number of rows of a tile's code in the encoder's space."""
    return 1 if encoder.num_ws == 1 else generator.num_ws


def draw_tiles(generator: Generator, grid: Grid, codes: Tensor, *, batch_size: int = 64) -> Tensor:
    """codes [N, num_tiles, 1 or num_ws, w_dim] => [N, 3, *shape_px], about [-1, 1].

    Raises `ValueError` if the codes do not fit the grid.
    """
    if codes.ndim != 4 or codes.shape[1] != grid.num_tiles:
        raise ValueError(
            f"expected codes [N, {grid.num_tiles}, rows, w_dim], got {list(codes.shape)}: use the "
            "grid that the codes were inverted with"
        )
    w_plus = codes.flatten(0, 1).expand(-1, generator.num_ws, -1)
    drawn = [generator.synthesis(some) for some in torch.split(w_plus, batch_size)]
    return grid.join(torch.cat(drawn))
