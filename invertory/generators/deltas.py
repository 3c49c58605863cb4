"""How a generator's weights differ for one picture: the forms in which that is kept in a state.

A change of the weight `b8.conv1.weight` is either whole, or a product of two factors:

    b8.conv1.weight:delta          [N, *shape]
    b8.conv1.weight:up, :down      [N, first, r] and [N, r, rest], the weight as [first, rest]

and any of these (here `x`) may be kept in 8 bits, rounded to the nearest of 255 levels:

    x:codes, x:peak                int8 as x, and what 127 stands for, a channel (or factor) each
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from invertory.generators.low_rank import LowRank

DELTA, UP, DOWN, CODES, PEAK = ":delta", ":up", ":down", ":codes", ":peak"
LEVELS = 127  # of an int8, either side of 0
FEW = 16  # values to a channel, below which 8 bits and a peak save little


def changed(name: str) -> str:
    """The weight (or buffer) that an entry of a state is about."""
    return name.partition(":")[0]


def factors(state: Mapping[str, Tensor]) -> dict[str, LowRank]:
    """Weight => its change as a product, of those that are kept so."""
    names = [name.removesuffix(UP) for name in state if name.endswith(UP)]
    return {name: LowRank(state[name + UP], state[name + DOWN]) for name in names}


def wholes(state: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weight => its change, [N, *shape], whatever the form; `weights` has the shapes."""
    found = {k.removesuffix(DELTA): v for k, v in state.items() if k.endswith(DELTA)}
    for name, change in factors(state).items():
        found[name] = (change.up @ change.down).reshape(-1, *weights[name].shape)
    return found


def truncated(delta: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """delta [N, first, ...] => the nearest product of that rank (Eckart and Young): up, down."""
    matrix = delta.float().flatten(2)
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    root = s[:, :rank].sqrt()  # to both, so that half precision suits both
    return u[:, :, :rank] * root[:, None], root[:, :, None] * vt[:, :rank]


def cut(state: Mapping[str, Tensor], rank: int) -> dict[str, Tensor]:
    """Whole changes of matrices and kernels to that rank, where this is smaller."""
    found: dict[str, Tensor] = {}
    for name, change in state.items():
        first, rest = change.shape[1:2].numel(), change.shape[2:].numel()
        if change.ndim < 3 or rank * (first + rest) >= first * rest:
            found[name] = change
            continue
        weight = name.removesuffix(DELTA)
        found[weight + UP], found[weight + DOWN] = truncated(change, rank)
    return found


def coded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Every entry in 8 bits; in float16 those with few values to a channel."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        axes = [axis for axis in range(1, tensor.ndim) if axis != _channel(name, tensor)]
        if not axes or tensor[0].numel() < FEW * tensor.shape[_channel(name, tensor)]:
            found[name] = tensor.to(torch.float16)
            continue
        peak = tensor.abs().amax(axes, keepdim=True).to(torch.float16)
        step = peak.float().clamp_min(torch.finfo(torch.float16).tiny) / LEVELS
        codes = (tensor.float() / step).round().clamp(-LEVELS, LEVELS)
        found |= {name + CODES: codes.to(torch.int8), name + PEAK: peak}
    return found


def decoded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `coded`, float32 where there were codes."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(CODES):
            peak = state[name.removesuffix(CODES) + PEAK].float()
            step = peak.clamp_min(torch.finfo(torch.float16).tiny) / LEVELS
            found[name.removesuffix(CODES)] = tensor.float() * step
        elif not name.endswith(PEAK):
            found[name] = tensor
    return found


def _channel(name: str, tensor: Tensor) -> int:
    """The axis that has a peak for each entry: outputs, or the factors of a product."""
    return tensor.ndim - 1 if name.endswith(UP) else 1
