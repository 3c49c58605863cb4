"""How the engine's step is run: as it is, compiled, or recorded once as a CUDA graph and replayed.

All three come to the same rows, within rounding. Compiling costs a minute or so and pays on long
runs; a graph takes the launching of some hundred small kernels a step off the host, which is what
small pictures wait for on a fast device. Both need a batch that keeps its size.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from invertory.inversion.engine.slots import Slots

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.inversion.engine.objective import Objective, Tensors

Execution = Literal["eager", "compiled", "graphed"]
Advance = Callable[[Slots], None]

WARM_UPS = 3  # steps before a recording, in which libraries choose their kernels

_log = logging.getLogger(__name__)


class _Compiled:
    """An objective whose losses go through torch.compile; where that fails, as they are."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._losses: Callable[..., Tensors] = torch.compile(objective.losses, dynamic=False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        try:
            return self._losses(variables, constants, step)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            _log.warning(
                "torch.compile failed (%s): going on uncompiled; it needs a C++ compiler on the "
                "CPU and Triton on a GPU, or ask for `execution: eager`",
                reason,
            )
            self._losses = self._objective.losses
            return self._losses(variables, constants, step)


def compiled(objective: Objective) -> Objective:
    """The same objective with its losses compiled."""
    return cast("Objective", _Compiled(objective))


def recorded(advance: Advance, slots: Slots) -> Advance:
    """`advance` for these very slots: recorded on their CUDA device, and replayed from then on."""
    device = slots.device
    if device.type != "cuda":
        _log.warning("CUDA graphs need a CUDA device, got %s: going on without", device.type)
        return advance
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's is untyped
    side.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            advance(slots.shallow())
    torch.cuda.current_stream(device).wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        in_place(advance, slots)

    def replay(same: Slots) -> None:
        if same is not slots:
            raise ValueError("expected the slots that were recorded, got others: record these too")
        graph.replay()

    return replay


def in_place(advance: Advance, slots: Slots) -> None:
    """`advance`, with its results in the tensors that the slots had before: their place stays."""
    after = slots.shallow()
    advance(after)
    for group, named in after.tensors.items():
        for name, tensor in named.items():
            kept = slots.tensors[group][name]
            if tensor is not kept:
                kept.copy_(tensor)


def is_out_of_memory(error: BaseException) -> bool:
    """The device's allocator, Python's, or the CPU's, which torch tells by a plain RuntimeError."""
    is_named = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_named or "can't allocate memory" in str(error)
