"""How a state stores the changes of a generator's weights for one image.

A change of the weight `b8.conv1.weight` is either whole or a product of two factors:

    b8.conv1.weight:delta          [N, *shape]
    b8.conv1.weight:up, :down      [N, first, r] and [N, r, rest], the weight as [first, rest]

Any of these (here `x`) may be stored in 8 bits, rounded to the nearest of 255 levels:

    x:codes, x:peak                int8 like x, and the value of level 127 per channel (or factor)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from invertory.generators.low_rank import LowRank

DELTA, UP, DOWN, CODES, PEAK = ":delta", ":up", ":down", ":codes", ":peak"
LEVELS = 127  # levels of an int8 on each side of 0
FEW = 16  # values per channel below which 8 bits and a peak save little


def changed_name(name: str) -> str:
    """Name of the weight (or buffer) that an entry of a state changes."""
    return name.partition(":")[0]


def low_rank_changes(state: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """Weight => its change as a product, for the changes that are stored as one."""
    names = [name.removesuffix(UP) for name in state if name.endswith(UP)]
    return {name: LowRank(state[name + UP], state[name + DOWN]) for name in names}


def whole_changes(state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weight => its whole change, [N, *shape], in any form; `weights` has the shapes."""
    changes = {k.removesuffix(DELTA): v for k, v in state.items() if k.endswith(DELTA)}
    for name, change in low_rank_changes(state).items():
        changes[name] = (change.up @ change.down).reshape(-1, *weights[name].shape)
    return changes


def truncate(delta: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Truncate delta [N, first, ...] to the nearest product of that rank => up, down.

    The nearest in the Frobenius norm is the truncated SVD (Eckart and Young).
    """
    matrix = delta.float().flatten(2)
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:, :rank].sqrt()  # on both factors, so that half precision suits both
    return u[:, :, :rank] * root[:, None], root[:, :, None] * vt[:, :rank]


def truncate_all(state: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Truncate whole changes of matrices and kernels to that rank, if this makes them smaller."""
    truncated: dict[str, Tensor] = {}
    for name, change in state.items():
        first, rest = change.shape[1:2].numel(), change.shape[2:].numel()
        if change.ndim < 3 or rank * (first + rest) >= first * rest:
            truncated[name] = change
            continue
        weight = name.removesuffix(DELTA)
        truncated[weight + UP], truncated[weight + DOWN] = truncate(change, rank)
    return truncated


def quantise(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Encode every entry in 8 bits, or in float16 if it has few values per channel."""
    quantised: dict[str, Tensor] = {}
    for name, tensor in state.items():
        axes = [axis for axis in range(1, tensor.ndim) if axis != _channel(name, tensor)]
        if not axes or tensor[0].numel() < FEW * tensor.shape[_channel(name, tensor)]:
            quantised[name] = tensor.to(torch.float16)
            continue
        peak = tensor.abs().amax(axes, keepdim=True).to(torch.float16)
        step = peak.float().clamp_min(torch.finfo(torch.float16).tiny) / LEVELS
        # codes = round(127 x / peak)
        codes = (tensor.float() / step).round().clamp(-LEVELS, LEVELS)
        quantised |= {name + CODES: codes.to(torch.int8), name + PEAK: peak}
    return quantised


def dequantise(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Invert `quantise`; decoded entries are float32."""
    dequantised: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(CODES):
            peak = state[name.removesuffix(CODES) + PEAK].float()
            step = peak.clamp_min(torch.finfo(torch.float16).tiny) / LEVELS
            dequantised[name.removesuffix(CODES)] = tensor.float() * step
        elif not name.endswith(PEAK):
            dequantised[name] = tensor
    return dequantised


def _channel(name: str, tensor: Tensor) -> int:
    """The axis with one peak per entry: the outputs, or the factors of a product."""
    return tensor.ndim - 1 if name.endswith(UP) else 1
