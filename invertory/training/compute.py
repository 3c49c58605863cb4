"""The device and precision of a training, its seeded random draws, and averages of weights."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from invertory.images import Pixels
from invertory.precision import Precision, check_precision

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """A device, and the precision of forward passes under `autocast` (weights stay float32)."""

    device: str = "cpu"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        check_precision(self.precision)

    @classmethod
    def best(cls, device: str | None = None) -> Compute:
        """The GPU if available; bfloat16 if the hardware accelerates it."""
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        on_cpu = torch.device(device).type == "cpu"
        fast = bool(torch.cpu.get_capabilities().get("amx_bf16")) if on_cpu else True
        return cls(device=device, precision="bfloat16" if fast else "float32")

    def autocast(self, enabled: bool = True) -> AbstractContextManager[None]:
        """Run forward passes in `precision`; if not enabled, in float32 even within another
        autocast.
        """
        on = enabled and self.precision == "bfloat16"
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=on)

    def place(self, network: Network) -> Network:
        """Move to the device, with channels-last kernels (fastest for bfloat16 convolutions)."""
        return network.to(self.device).to(memory_format=torch.channels_last)

    def rng(self, seed: int, step: int, stream: int = 0) -> torch.Generator:
        """A generator on the device, seeded by these three numbers only."""
        state = int(np.random.SeedSequence((seed, step, stream)).generate_state(1, np.uint64)[0])
        return torch.Generator(self.device).manual_seed(state >> 1)


def batch_rows(num: int, batch_size: int, *, seed: int, step: int) -> Tensor:
    """[batch_size] int64 rows out of `num` for step `step`; each epoch is a permutation.

    A function of its arguments only, so that a resumed training sees the same images.
    """
    first = step * batch_size
    epochs = range(first // num, (first + batch_size - 1) // num + 1)
    orders = np.concatenate([_epoch_order(num, seed, epoch) for epoch in epochs])
    start = first - epochs[0] * num
    return torch.from_numpy(orders[start : start + batch_size])


_orders: dict[
    tuple[int, int, int], np.ndarray
] = {}  # cache of the last few epochs, since a permutation costs O(num)


def _epoch_order(num: int, seed: int, epoch: int) -> np.ndarray:
    key = (num, seed, epoch)
    if key not in _orders:
        while len(_orders) >= 4:
            _orders.pop(next(iter(_orders)))
        _orders[key] = np.random.default_rng((seed, epoch)).permutation(num)
    return _orders[key]


class TrainingImages:
    """uint8 [N, H, W, 3] (an array or a memory map): on a GPU copied whole, on the CPU in place.

    Raises ValueError for other shapes and types.
    """

    def __init__(self, images: Pixels, compute: Compute) -> None:
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
            raise ValueError(
                f"expected uint8 [N, H, W, 3], got {images.dtype} {images.shape}: bring "
                "images of several sizes to one first"
            )
        self._array = images
        self._device = torch.device(compute.device)
        on_device = self._device.type != "cpu"
        self._resident = torch.from_numpy(np.array(images)).to(self._device) if on_device else None

    def __len__(self) -> int:
        return len(self._array)

    @property
    def size_px(self) -> int:
        """The height; images are square."""
        return int(self._array.shape[1])

    def __getitem__(self, rows: Tensor | slice) -> Tensor:
        """float32 [len(rows), 3, H, W] in [-1, 1] on the device, channels-last in memory."""
        if self._resident is not None:
            index = rows if isinstance(rows, slice) else rows.to(self._device, non_blocking=True)
            batch = self._resident[index]
        else:
            array = self._array[rows if isinstance(rows, slice) else rows.numpy()]
            batch = torch.from_numpy(np.array(array))  # a copy: memory maps may be read-only
        return batch.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def average_of(network: Network) -> Network:
    """A frozen copy in eval mode, for `update_average`."""
    return copy.deepcopy(network).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * network for floats; copies other tensors."""
    pairs = list(zip(_tensors(average), _tensors(network), strict=True))
    floats = [(a, b) for a, b in pairs if a.is_floating_point()]
    torch._foreach_lerp_([a for a, _ in floats], [b for _, b in floats], 1 - decay)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)


def _tensors(network: nn.Module) -> Iterable[Tensor]:
    yield from network.parameters()
    yield from network.buffers()


def decay_of(half_life_images: float, batch_size: int) -> float:
    """The decay per step of an average with a half-life of `half_life_images`."""
    return 0.5 ** (batch_size / half_life_images) if half_life_images > 0 else 0.0
