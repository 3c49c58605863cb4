"""InvGAN on tiles: n x n patches of an image, each with its own code, in one pass.

InvGAN: Invertable GANs, Ghosh, Zietlow, Black, Davis and Hu 2021, https://arxiv.org/abs/2112.04598,
sections 3.3 and 4.3: an invertible GAN of patches reconstructs images n times larger. The method
needs a generator of patches; it also runs with one of whole faces, although a tile is then only a
part of a face.

The rows of a W+ latent are layers, not tiles. The tiles' codes are therefore the image's state,
`codes` [N, n * n, rows, w_dim], and the latent is their mean: boundaries are fitted on it, and
edits move it. Each layer of every tile moves by the same offset as the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import TYPE_CHECKING, ClassVar

from invertory.editing.tiling import Grid, TiledPair, draw_tiles
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.view import View
from invertory.inversion.feed_forward import FeedForwardConfig, FeedForwardObjective, encoder_of
from invertory.inversion.method import NO_NETWORKS, Space

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.generators.state import State
    from invertory.inversion.method import Inversion
    from invertory.perceptual import Perceptual

CODES = "codes"  # key in the state


@dataclass(frozen=True, slots=True)
class _TiledObjective(FeedForwardObjective):
    """The objective without steps: a code per tile, and the losses of the joined image."""

    method: InvGANTiled
    pair: TiledPair
    view: View  # of the joined images
    results: ClassVar[tuple[str, ...]] = (CODES,)

    def start(self, rows: Rows) -> Start:
        codes = self.pair.codes(rows.targets).float()
        return Start({}, self.view.constants(rows.targets) | {CODES: codes})

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        synth = self.view.resize(self.pair.images(constants[CODES]))
        return self.view.compare(synth, constants)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvGANTiled(FeedForwardConfig):
    """One pass of the encoder over every tile; the losses are measured and optimise nothing."""

    needs: ClassVar[tuple[str, ...]] = ("invgan",)
    has_state: ClassVar[bool] = True

    invgan: str = field(
        default="auto",
        metadata={"description": "address of the encoder; auto: the one for this generator"},
    )
    tiles: int = field(
        default=0,
        metadata={
            "description": "tiles a side, to which images are resized; 0: as few as cover the image"
        },
    )
    overlap_px: int = field(
        default=0,
        metadata={
            "description": "pixels that neighbouring tiles share and in which they are blended"
        },
    )
    space: Space = field(
        default="w",
        metadata={"description": "space of a tile's code; w_plus: for an encoder into W+"},
    )

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => mean codes and, as state, all; see `Method`.

        At most `batch_size` tiles run through a network at once. Raises `ValueError` if the targets
        are not square or the encoder's space differs from `space`.
        """
        if targets.shape[-2:] != (targets.shape[-1],) * 2:
            raise ValueError(
                f"expected square targets [N, 3, H, H], got {list(targets.shape)}: align them first"
            )
        pair = self._pair(
            generator, networks, batch_size, self.tiles or self._num(generator, targets)
        )
        size_px = min(pair.grid.size_px, targets.shape[-1], self.loss_px)
        view = View(generator, perceptual, is_preview=False, size_px=size_px)
        objective = _TiledObjective(self, pair, view)
        engine = Engine(steps=0, precision=self.precision)
        outcome = engine.run(objective, targets, seeds=seeds, batch_size=batch_size)
        codes = outcome.results[CODES]
        inversion = outcome.inversion(self.space, codes.mean(1))
        return replace(inversion, state={CODES: codes})

    def draw(
        self,
        generator: Generator,
        w_plus: Tensor,
        state: State,
        *,
        origin: Tensor,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Tensor:
        """w_plus [N, num_ws, w_dim] and the tiles' codes => [N, 3, S, S]; see `SupportsDraw`.

        S is the generator's resolution times the number of tiles a side, minus the overlaps.
        """
        codes = state[CODES].to(w_plus)
        grid = Grid(
            tiles=isqrt(codes.shape[1]),
            tile_px=generator.resolution,
            overlap_px=self.overlap_px,
        )
        moved = codes + (w_plus - origin)[:, None]
        return draw_tiles(generator, grid, moved, batch_size=max(len(w_plus), 1))

    def _num(self, generator: Generator, targets: Tensor) -> int:
        """Number of tiles a side that cover the targets [N, 3, H, H]."""
        shape_px, tile_px = targets.shape[-2:], generator.resolution
        return Grid.over(shape_px, tile_px=tile_px, overlap_px=self.overlap_px).tiles

    def _pair(
        self,
        generator: Generator,
        networks: Mapping[str, nn.Module],
        batch_size: int,
        tiles: int,
    ) -> TiledPair:
        encoder = encoder_of(networks, generator, "invgan")
        if self.space == "w" and encoder.num_ws > 1:
            raise ValueError(
                f"expected an encoder into W, got one into W+ of {encoder.num_ws} rows: set "
                "`space: w_plus` of invgan_tiled"
            )
        grid = Grid(tiles=tiles, tile_px=generator.resolution, overlap_px=self.overlap_px)
        rows = 1 if self.space == "w" else generator.num_ws
        return TiledPair(encoder, generator, grid, rows, batch_size)
