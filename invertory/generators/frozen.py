"""What follows from a parameter alone, computed once while the parameter is frozen."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class _Kept:
    source: Tensor  # shares the parameter's memory, so that its address is given to no other
    version: int
    value: Tensor


class Frozen:
    """A module's derived tensors, by name and dtype; computed anew when their parameter changes.

    A change is seen by the parameter's address and version. A fused optimiser raises no version, so
    nothing is kept of a parameter that has a gradient, though it be held still for a while: a
    discriminator in its generator's step. Nothing is kept of one that is trained, nor under
    `torch.compile`, in inference mode or while a CUDA graph is captured, where a kept tensor would
    outlive its meaning. Copies of the module begin empty.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, _Kept] = {}

    def __reduce__(self) -> tuple[type[Frozen], tuple[()]]:
        return Frozen, ()

    def get(self, name: Hashable, parameter: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """`compute()`, or what it gave the last time for this very parameter."""
        if not _is_still(parameter):
            return compute()
        kept = self._kept.get(name)
        if kept is None or not _is_of(kept, parameter):
            with torch.no_grad():
                kept = _Kept(parameter.detach(), parameter._version, compute())
            if not _is_capturing(parameter):
                self._kept[name] = kept
        return kept.value


def _is_still(parameter: Tensor) -> bool:
    """False also for what stands in for a parameter in `functional_call` and in transforms."""
    return (
        not torch.compiler.is_compiling()
        and type(parameter) is nn.Parameter
        and not parameter.requires_grad
        and parameter.grad is None
        and not torch.is_inference_mode_enabled()
    )


def _is_of(kept: _Kept, parameter: Tensor) -> bool:
    return (
        kept.source.data_ptr() == parameter.data_ptr()
        and kept.source.device == parameter.device
        and kept.source.dtype == parameter.dtype
        and kept.version == parameter._version
    )


def _is_capturing(parameter: Tensor) -> bool:
    return parameter.is_cuda and torch.cuda.is_current_stream_capturing()
