"""What a picture needs beside its latent: tensors in place of the generator's own, row by row.

A method that moves more than latents (noise maps, say) hands them out as its state. Stored with the
latent, they let an edit be drawn with them later.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.func import functional_call

if TYPE_CHECKING:
    from invertory.generators import Generator

State = Mapping[str, Tensor]  # name of a buffer of `synthesis` => [N, ...], one entry a row
NO_STATE: Final[State] = MappingProxyType({})


def synthesised(generator: Generator, w_plus: Tensor, state: State) -> Tensor:
    """w_plus [N, num_ws, w_dim] and the rows' state => pictures, as `generator.synthesis`."""
    if not state:
        return generator.synthesis(w_plus)
    synthesis = generator.synthesis
    known = dict(synthesis.named_buffers()) if isinstance(synthesis, nn.Module) else {}
    if not isinstance(synthesis, nn.Module) or not set(state) <= set(known):
        raise ValueError(
            f"expected a state of the generator's buffers, got {', '.join(sorted(state)[:3])}: "
            "draw it with the generator that the latents were made with"
        )
    rows = {name: tensor.to(known[name]) for name, tensor in state.items()}
    pictures: Tensor = functional_call(synthesis, rows, (w_plus,))
    return pictures


def pack(state: State, row: int) -> bytes:
    """One row of the state as safetensors, float16."""
    return save({name: t[row].to(torch.float16).contiguous() for name, t in state.items()})


def unpack(rows: list[bytes]) -> dict[str, Tensor]:
    """Rows that `pack` wrote => state, [N, ...] each, float16."""
    loaded = [load(row) for row in rows]
    return {name: torch.stack([row[name] for row in loaded]) for name in loaded[0]}
