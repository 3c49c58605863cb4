"""Contact sheets."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from invertory.portraits.draw import draw
from invertory.portraits.render import render
from invertory.portraits.streams import row_seed
from invertory.portraits.world import World


def contact_sheet(
    num: int = 64,
    *,
    size_px: int = 128,
    columns: int = 8,
    seed: int = 0,
    world: World | None = None,
    supersample: int = 1,
) -> npt.NDArray[np.uint8]:
    """`num` portraits of this seed's collection in rows [H, W, 3]; unused cells are white."""
    rows = -(-num // columns)
    sheet = np.full((rows * size_px, columns * size_px, 3), 255, np.uint8)
    for i in range(num):
        image = render(draw(row_seed(seed, i), world), size_px, supersample=supersample).image
        top, left = i // columns * size_px, i % columns * size_px
        sheet[top : top + size_px, left : left + size_px] = image
    return sheet
