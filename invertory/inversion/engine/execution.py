"""How a step of the engine is executed: eagerly, compiled, or replayed from a CUDA graph.

All three give the same rows, within rounding. Compilation takes about a minute and pays off in long
runs. A graph saves the host from launching some hundred small kernels a step, which is what limits
small images on a fast device. Both need a constant batch size.
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
    """An objective whose losses run through torch.compile, or eagerly if compilation fails."""

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
                "torch.compile failed (%s): continuing uncompiled; install a C++ compiler (CPU) "
                "or Triton (GPU), or set `execution: eager`",
                reason,
            )
            self._losses = self._objective.losses
            return self._losses(variables, constants, step)


def compile_losses(objective: Objective) -> Objective:
    """Wrap an objective so that its losses are compiled."""
    return cast("Objective", _Compiled(objective))


def record_graph(advance: Advance, slots: Slots) -> Advance:
    """Record `advance` for these slots on their CUDA device; each later call replays it."""
    device = slots.device
    if device.type != "cuda":
        _log.warning(
            "CUDA graphs need a CUDA device, got %s: continuing without a graph", device.type
        )
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
            raise ValueError(
                "expected the slots that were recorded, got others: record these slots too"
            )
        graph.replay()

    return replay


def in_place(advance: Advance, slots: Slots) -> None:
    """Call `advance` and copy its results into the tensors that the slots already hold."""
    after = slots.shallow()
    advance(after)
    for group, named in after.tensors.items():
        for name, tensor in named.items():
            original = slots.tensors[group][name]
            if tensor is not original:
                original.copy_(tensor)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the device, Python or the CPU allocator is out of memory.

    torch reports the last one as a plain RuntimeError.
    """
    is_named = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_named or "can't allocate memory" in str(error)
