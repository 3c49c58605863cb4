"""Linear edits: move a latent along a direction, in chosen rows of W+ (Shen et al. 2020, eq. 2).

Layer ranges are written as in the published galleries: "all", "4", "0-5", "2,4-7"; both ends are
included.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from invertory.boundaries import project

Mode = Literal["relative", "absolute"]


def edit(
    w_plus: Tensor,
    normal: Tensor,
    step: Tensor | float,
    layers: str = "all",
    *,
    mode: Mode = "relative",
    offset: float = 0.0,
) -> Tensor:
    """w_plus [N, rows, w_dim] moved along normal [rows or 1, w_dim] of unit norm.

    `step` is [N] or one for all. "relative" adds step * normal. "absolute" moves to the distance
    `step` from the plane (normal, offset), which is defined for all rows together, so `layers` must
    be "all". Raises `ValueError` if shapes or layers do not fit.
    """
    rows = parse_layers(layers, w_plus.shape[1])
    distance = project(w_plus, normal)  # also checks the shapes
    move = torch.as_tensor(step, dtype=torch.float64, device=w_plus.device).expand(len(w_plus))
    if mode == "absolute":
        if len(rows) < w_plus.shape[1]:
            raise ValueError(
                f"expected layers 'all' for absolute steps, got {layers!r}; a distance belongs to "
                "all rows: use relative steps to move some of them"
            )
        move = move - (distance + offset)
    mask = torch.zeros(w_plus.shape[1], 1, dtype=torch.float64, device=w_plus.device)
    mask[rows] = 1.0
    # eq. 2: z_edit = z + alpha n
    shift = move[:, None, None] * (normal.to(w_plus.device).double() * mask)
    return (w_plus.double() + shift).to(w_plus.dtype)


def parse_layers(text: str, num_ws: int) -> list[int]:
    """ "all", "4", "0-5", "2,4-7" => sorted row numbers, each once, within 0..num_ws - 1.

    Raises `ValueError` for other words or rows.
    """
    if text.strip() == "all":
        return list(range(num_ws))
    rows: set[int] = set()
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise ValueError(
                f"expected layers such as 'all', '0-5' or '2,4-7', got {text!r}; write row numbers "
                "and ranges, separated by commas"
            )
        start, end = int(first), int(last if dash else first)
        if start > end or end >= num_ws:
            raise ValueError(
                f"expected layers within 0-{num_ws - 1}, lower number first, got {part.strip()!r} "
                f"in {text!r}; this generator has {num_ws} rows"
            )
        rows.update(range(start, end + 1))
    return sorted(rows)
