"""Caching of tensors that depend only on a parameter, while the parameter is frozen."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class _CachedTensor:
    source: Tensor  # shares the parameter's memory, so its address is not reused
    version: int
    value: Tensor


class FrozenCache:
    """A module's derived tensors, by name and dtype; recomputed when their parameter changes.

    A change is detected by the parameter's address and version. A fused optimiser does not raise
    the version, so nothing is cached for a parameter that has a gradient, even if it is frozen for
    a while (a discriminator in its generator's step). Nothing is cached for a trained parameter,
    nor under `torch.compile`, in inference mode or while a CUDA graph is captured, where a cached
    tensor would become invalid. Copies of the module start with an empty cache.
    """

    def __init__(self) -> None:
        self._cache: dict[Hashable, _CachedTensor] = {}

    def __reduce__(self) -> tuple[type[FrozenCache], tuple[()]]:
        return FrozenCache, ()

    def get(self, name: Hashable, parameter: Tensor, compute: Callable[[], Tensor]) -> Tensor:
        """Return `compute()`, or its cached result for this same parameter."""
        if not _is_still(parameter):
            return compute()
        cached = self._cache.get(name)
        if cached is None or not _is_of(cached, parameter):
            with torch.no_grad():
                cached = _CachedTensor(parameter.detach(), parameter._version, compute())
            if not _is_capturing(parameter):
                self._cache[name] = cached
        return cached.value


def _is_still(parameter: Tensor) -> bool:
    """Whether the parameter is frozen.

    Also False for the tensors that replace a parameter in `functional_call` and in transforms.
    """
    return (
        not torch.compiler.is_compiling()
        and type(parameter) is nn.Parameter
        and not parameter.requires_grad
        and parameter.grad is None
        and not torch.is_inference_mode_enabled()
    )


def _is_of(cached: _CachedTensor, parameter: Tensor) -> bool:
    return (
        cached.source.data_ptr() == parameter.data_ptr()
        and cached.source.device == parameter.device
        and cached.source.dtype == parameter.dtype
        and cached.version == parameter._version
    )


def _is_capturing(parameter: Tensor) -> bool:
    return parameter.is_cuda and torch.cuda.is_current_stream_capturing()
