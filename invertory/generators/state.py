"""State of an inversion: tensors that replace or change the generator's own, row by row.

A method that optimises more than latents returns it as a state: noise maps, which replace the
generator's buffers, or changes of its weights (see `deltas`). The state is stored with the latent,
so that edits can be drawn with it later.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.func import functional_call

from invertory.generators.deltas import changed_name, dequantise, low_rank_changes, whole_changes
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_layers import Hooks

if TYPE_CHECKING:
    from invertory.generators import Generator

State = Mapping[str, Tensor]  # name of a buffer, or of a weight and its form => [N, ...], by row
NO_STATE: Final[State] = MappingProxyType({})


class _SynthesisModule(nn.Module):
    """`synthesis` as a module, so that one call can replace tensors of any generator."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = cast("nn.Module", generator)
        is_module = isinstance(generator.synthesis, nn.Module)
        self.prefix = "generator.synthesis." if is_module else "generator."

    def forward(self, w_plus: Tensor, **hooks: Hooks) -> Tensor:
        images: Tensor = cast("Generator", self.generator).synthesis(w_plus, **hooks)
        return images


def synthesise(generator: Generator, w_plus: Tensor, state: State) -> Tensor:
    """w_plus [N, num_ws, w_dim] and the rows' state => images, like `generator.synthesis`.

    Low-rank changes of a StyleGAN2's kernels are drawn as one batch; other changes of weights run
    one row at a time, with separate kernels. Differentiable in the state. Raises `ValueError` if
    the state has tensors that the generator lacks.
    """
    if not state:
        return generator.synthesis(w_plus)
    module, rows = _SynthesisModule(generator), dequantise(state)
    weights = tunable_weights(generator)
    buffers = _buffers(generator)
    known = weights | buffers
    if unknown := {changed_name(name) for name in rows} - set(known):
        raise ValueError(
            "expected a state of the generator's own tensors, got "
            f"{', '.join(sorted(unknown)[:3])}: draw it with the generator that the latents were "
            "made with"
        )
    rows = {name: tensor.to(known[changed_name(name)]) for name, tensor in rows.items()}
    maps = {module.prefix + name: tensor for name, tensor in rows.items() if name in buffers}
    if len(maps) == len(rows):
        return _call(module, maps, w_plus)
    products = low_rank_changes(rows)
    is_product = 2 * len(products) + len(maps) == len(rows)
    if is_product and isinstance(generator, StyleGAN2) and set(products) <= set(kernels(generator)):
        low_rank = {name.removesuffix(".weight"): change for name, change in products.items()}
        return _call(module, maps, w_plus, hooks=Hooks(low_rank=low_rank))
    changes = whole_changes(rows, weights)
    images = []
    for i in range(len(w_plus)):
        own = {module.prefix + name: weights[name] + delta[i] for name, delta in changes.items()}
        own |= {name: tensor[i : i + 1] for name, tensor in maps.items()}
        images.append(_call(module, own, w_plus[i : i + 1]))
    return torch.cat(images)


def tunable_weights(generator: Generator) -> dict[str, Tensor]:
    """The generator's weights that a state may change, by name; empty if it exposes none."""
    tell = getattr(generator, "weights", None)
    return dict(tell()) if callable(tell) else {}


def kernels(generator: Generator) -> dict[str, Tensor]:
    """The weights that low-rank changes apply to; empty if the generator exposes none."""
    tell = getattr(generator, "kernels", None)
    return dict(tell()) if callable(tell) else {}


def pack(state: State, row: int) -> bytes:
    """Encode one row of the state as safetensors: float16, and 8-bit codes unchanged."""
    return save({name: _to_stored(tensor[row]) for name, tensor in state.items()})


def unpack(rows: list[bytes]) -> dict[str, Tensor]:
    """Decode rows written by `pack` => state, [N, ...] each."""
    loaded = [load(row) for row in rows]
    return {name: torch.stack([row[name] for row in loaded]) for name in loaded[0]}


def _to_stored(tensor: Tensor) -> Tensor:
    return (tensor.half() if tensor.is_floating_point() else tensor).contiguous()


def _buffers(generator: Generator) -> dict[str, Tensor]:
    synthesis = generator.synthesis
    return dict(synthesis.named_buffers()) if isinstance(synthesis, nn.Module) else {}


def _call(
    module: _SynthesisModule, own: Mapping[str, Tensor], w_plus: Tensor, **hooks: Hooks
) -> Tensor:
    images: Tensor = functional_call(module, dict(own), (w_plus,), hooks)
    return images
