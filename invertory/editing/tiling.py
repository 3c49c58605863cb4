"""Tiling: one code for each of n x n patches of a picture n times larger than the generator's.

InvGAN: Invertable GANs, Ghosh, Zietlow, Black, Davis and Hu 2021, https://arxiv.org/abs/2112.04598,
section 3.3. Patches are inverted and drawn one by one and lie side by side; nothing has learnt to
join them, so that seams may show (`invertory/metrics/seams.py`). An overlap, in which neighbours
are blended linearly, is ours: the paper has none. Tiles are numbered row by row from the top left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import fold, interpolate

if TYPE_CHECKING:
    from invertory.encoders import Encoder
    from invertory.generators import Generator


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`tiles` x `tiles` squares of `tile_px` pixels; neighbours share `overlap_px`."""

    tiles: int
    tile_px: int
    overlap_px: int = 0

    def __post_init__(self) -> None:
        if self.tiles < 1 or self.tile_px < 1 or not 0 <= self.overlap_px < self.tile_px:
            raise ValueError(
                f"expected tiles from 1 and an overlap from 0 to below a tile's {self.tile_px} px, "
                f"got {self.tiles} tiles a side and an overlap of {self.overlap_px} px"
            )

    @property
    def stride_px(self) -> int:
        return self.tile_px - self.overlap_px

    @property
    def size_px(self) -> int:
        """Side of the whole picture."""
        return self.tile_px + (self.tiles - 1) * self.stride_px

    @property
    def num_tiles(self) -> int:
        return self.tiles**2

    @property
    def borders(self) -> tuple[int, ...]:
        """Where a tile begins or ends inside the picture: the first pixel after each border."""
        starts = [i * self.stride_px for i in range(1, self.tiles)]
        return tuple(sorted({*starts, *(start + self.overlap_px for start in starts)}))

    def fitted(self, pictures: Tensor) -> Tensor:
        """[N, C, H, H] => [N, C, size_px, size_px]: area means down, bilinear up."""
        if pictures.ndim != 4 or pictures.shape[2] != pictures.shape[3]:
            raise ValueError(
                f"expected square pictures [N, C, H, H], got {list(pictures.shape)}: align them "
                "first"
            )
        if pictures.shape[-1] == self.size_px:
            return pictures
        mode = "area" if pictures.shape[-1] > self.size_px else "bilinear"
        return interpolate(pictures, size=(self.size_px, self.size_px), mode=mode)

    def cut(self, pictures: Tensor) -> Tensor:
        """[N, C, size_px, size_px] => tiles [N * num_tiles, C, tile_px, tile_px]."""
        if pictures.ndim != 4 or pictures.shape[2:] != (self.size_px, self.size_px):
            raise ValueError(
                f"expected pictures [N, C, {self.size_px}, {self.size_px}], got "
                f"{list(pictures.shape)}: bring them to this size by `Grid.fitted`"
            )
        rows = pictures.unfold(2, self.tile_px, self.stride_px)
        cells = rows.unfold(3, self.tile_px, self.stride_px)  # [N, C, n, n, tile_px, tile_px]
        return cells.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).contiguous()

    def join(self, tiles: Tensor) -> Tensor:
        """[N * num_tiles, C, tile_px, tile_px] => [N, C, size_px, size_px]; undoes `cut`."""
        if tiles.ndim != 4 or tiles.shape[2:] != (self.tile_px, self.tile_px):
            raise ValueError(
                f"expected tiles [N * {self.num_tiles}, C, {self.tile_px}, {self.tile_px}], got "
                f"{list(tiles.shape)}: draw them with the generator that the grid was made for"
            )
        tiles = tiles.float()
        weight = self._ramp.to(tiles)
        weight = weight[:, None] * weight  # [tile_px, tile_px]
        cells = torch.unflatten(tiles * weight, 0, (-1, self.num_tiles))  # [N, n * n, C, ...]
        total = weight.expand(1, self.num_tiles, 1, -1, -1)
        return self._sum(cells) / self._sum(total)

    @property
    def _ramp(self) -> Tensor:
        """[tile_px] of (0, 1]: up over the overlap and down again; `join` brings sums to 1."""
        ramp = torch.ones(self.tile_px)
        for i in range(self.overlap_px):
            share = (i + 0.5) / self.overlap_px
            ramp[i] = min(float(ramp[i]), share)
            ramp[-1 - i] = min(float(ramp[-1 - i]), share)
        return ramp

    def _sum(self, cells: Tensor) -> Tensor:
        """[N, n * n, C, tile_px, tile_px] => [N, C, size_px, size_px], overlaps added up."""
        columns = cells.permute(0, 2, 3, 4, 1).flatten(1, 3)  # [N, C * tile_px^2, n * n]
        size = (self.size_px, self.size_px)
        summed: Tensor = fold(columns, size, (self.tile_px, self.tile_px), stride=self.stride_px)
        return summed


@dataclass(frozen=True, slots=True)
class TiledPair:
    """An encoder and its generator, on patches: pictures to tiled codes and back.

    A grid of one tile is the pair itself. `rows` is how many rows a tile's code has: 1 in W,
    `num_ws` in W+. At most `batch_size` tiles are in a network at once.
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
        """Tiles of the generator's resolution, in the encoder's space."""
        grid = Grid(tiles=tiles, tile_px=generator.resolution, overlap_px=overlap_px)
        rows = 1 if encoder.num_ws == 1 else generator.num_ws
        return cls(encoder, generator, grid, rows, batch_size)

    def codes(self, pictures: Tensor) -> Tensor:
        """[N, 3, H, H] in [-1, 1] => [N, n * n, rows, w_dim]; the mean w for a bad tile."""
        tiles = self.grid.cut(self.grid.fitted(pictures))
        found = torch.cat(
            [self.encoder(some) for some in torch.split(tiles, self.batch_size)]
        ).float()
        is_finite = torch.isfinite(found).all(2).all(1)[:, None, None]
        found = torch.where(is_finite, found, self.generator.w_avg.to(found))
        found = found.expand(-1, self.rows, -1)
        return torch.unflatten(found, 0, (-1, self.grid.num_tiles))

    def pictures(self, codes: Tensor) -> Tensor:
        """[N, n * n, rows or num_ws, w_dim] => [N, 3, size_px, size_px], about [-1, 1]."""
        return tiled_pictures(self.generator, self.grid, codes, batch_size=self.batch_size)


def tiled_pictures(
    generator: Generator, grid: Grid, codes: Tensor, *, batch_size: int = 64
) -> Tensor:
    """codes [N, n * n, 1 or num_ws, w_dim] => [N, 3, size_px, size_px], about [-1, 1]."""
    if codes.ndim != 4 or codes.shape[1] != grid.num_tiles:
        raise ValueError(
            f"expected codes [N, {grid.num_tiles}, rows, w_dim], got {list(codes.shape)}: take "
            "the grid that the codes were inverted with"
        )
    w_plus = codes.flatten(0, 1).expand(-1, generator.num_ws, -1)
    drawn = [generator.synthesis(some) for some in torch.split(w_plus, batch_size)]
    return grid.join(torch.cat(drawn))
