"""Latents of tiles in the tables: their mean, their codes, and edits of every tile."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import torch
from torch import Tensor, nn

from invertory.boundaries import Boundary
from invertory.generators.state import unpack
from invertory.generators.toy import ToyGenerator
from invertory.images import Pixels, decode, encode, to_tensor, to_uint8
from invertory.inversion.invgan.tiled import InvGANTiled
from invertory.ops.edit import Edit, EditSpec
from invertory.ops.invert import Invert
from invertory.ops.render import Renderer, read_latents
from invertory.perceptual import PixelPyramid
from invertory.scoring import BadScore, Scores

METHOD = InvGANTiled(tiles=2, space="w_plus")


class Exact(nn.Module):
    """The exact inverse of the toy generator, as an encoder."""

    def __init__(self, generator: ToyGenerator) -> None:
        super().__init__()
        self.generator = generator
        self.resolution = generator.resolution
        self.num_ws, self.w_dim = generator.num_ws, generator.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return self.generator.invert_exactly(x)


class Brightness:
    names = ("bright",)

    def score(self, pictures: Sequence[Pixels]) -> list[Scores | BadScore]:
        return [{"bright": float(picture.mean())} for picture in pictures]


def inverted(toy: ToyGenerator) -> tuple[pa.RecordBatch, Tensor]:
    """Rows of the latents table for two crops of 32 px, and the codes of their tiles."""
    rng = torch.Generator().manual_seed(0)
    codes = 0.3 * torch.randn(2, 4, toy.num_ws, toy.w_dim, generator=rng)
    cells = toy.synthesis(codes.flatten(0, 1)).reshape(2, 2, 2, 3, 16, 16)
    pictures = cells.permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 32, 32)
    crops = [{"bytes": encode(to_uint8(p), "png"), "path": None} for p in pictures]
    ids = ["a:0", "b:0"]
    verb = Invert(
        method=METHOD,
        generator=toy,
        perceptual=PixelPyramid(),
        device=torch.device("cpu"),
        batch_size=2,
        networks={"invgan": Exact(toy)},
    )
    batch = pa.RecordBatch.from_pydict({"crop_id": ids, "image_id": ids, "crop": crops})
    return verb(batch).rows, codes


def test_codes_of_tiles_are_stored_with_their_mean(toy: ToyGenerator) -> None:
    rows, codes = inverted(toy)
    stored = unpack(rows.column("state").to_pylist())["codes"]
    torch.testing.assert_close(stored.float(), codes, rtol=0, atol=0.02)  # 8 bits, float16
    torch.testing.assert_close(
        read_latents(rows.column("latent")), codes.mean(1), rtol=0, atol=0.02
    )
    assert min(rows.column("psnr_db").to_pylist()) > 45


def test_an_edit_is_rendered_on_every_tile(
    toy: ToyGenerator, truth: dict[str, torch.Tensor]
) -> None:
    rows, codes = inverted(toy)
    renderer = Renderer(
        generator=toy,
        scorer=Brightness(),
        device=torch.device("cpu"),
        size_px=32,
        method=METHOD,
    )
    boundary, step = Boundary(normal=truth["smile"]), 0.4
    specs = [EditSpec(attribute="smile", steps=(0.0, step), layers="all")]
    verb = Edit(renderer=renderer, boundaries={"smile": boundary}, specs=specs)
    edited = verb(rows.select(["crop_id", "image_id", "latent", "state"])).rows
    still, moved = (shown(edited, i) for i in (0, 1))
    torch.testing.assert_close(still, shown(rows, 0, "synth"), rtol=0, atol=0.1)  # JPEG
    expected = toy.synthesis(codes[0] + step * truth["smile"].float())  # four tiles
    torch.testing.assert_close(moved[0, :, :16, 16:], expected[1], rtol=0, atol=0.03)
    torch.testing.assert_close(moved[0, :, 16:, :16], expected[2], rtol=0, atol=0.03)


def shown(rows: pa.RecordBatch, row: int, column: str = "picture") -> Tensor:
    return to_tensor(decode(rows.column(column)[row]["bytes"].as_py()).pixels)
