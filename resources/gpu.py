"""One heavy computation per device: a lease of a GPU, or of a slot of CPU cores.

The lease is a file lock, which the kernel releases however the process ends. It is acquired inside
an op, since the set-up of a resource would hold it for the whole run. The lock of a GPU is visible
to every user of the host. CPU slots belong to one project of a user (DAGSTER_HOME, or else the
current directory): the scheduler shares cores among projects, so projects do not wait for each
other.
"""

import contextlib
import hashlib
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from invertory.resources.lock_folders import host_folder, user_folder
from invertory.resources.locks import Waiting, holding_one, silent

if TYPE_CHECKING:
    import torch


@dataclass(slots=True)
class Lease:
    """A leased device; the measurements are available after the lease has ended.

    `peak_memory_bytes` counts tensors during the lease on a GPU, and the whole process on the CPU.
    """

    device: "torch.device"
    batch_size: int
    busy_s: float = 0.0
    peak_memory_bytes: int = 0


class Gpu(dg.ConfigurableResource["Gpu"]):
    """The device on which a stage computes."""

    device: str = Field(
        default="auto",
        description="auto (a GPU if there is one), cuda (any GPU), cuda:1 (that GPU), or cpu.",
    )
    batch_size: int = Field(default=8, description="Number of images in a batch.", ge=1)
    cpu_slots: int = Field(
        default=0,
        description="Heavy computations of a project that run at once on the CPU; 0: as many as "
        "the cores allow for their threads.",
        ge=0,
    )
    lock_dir: str = Field(
        default="",
        description="Folder of all locks, writable by everyone who shares the devices; empty: "
        "/run/lock or /tmp for GPUs, the user's own folder for the CPU.",
    )
    timeout_s: float = Field(default=3600.0, description="How long to wait for a device.", ge=0)

    @contextlib.contextmanager
    def lease(self, waiting: Waiting = silent) -> Iterator[Lease]:
        """Lease the first device that is or becomes free, for the length of the block.

        If no device is free, `waiting` is called with the current holders, and again periodically.
        """
        with self._device(waiting) as name:
            lease = Lease(_torch_device(name), self.batch_size)
            started = time.monotonic()
            _reset_peak(lease.device)
            try:
                yield lease
            finally:
                lease.busy_s = time.monotonic() - started
                lease.peak_memory_bytes = _peak_bytes(lease.device)

    @contextlib.contextmanager
    def _device(self, waiting: Waiting) -> Iterator[str]:
        names = _devices(self.device, self.cpu_slots or _slots_of_cores())
        is_shared = bool(self.lock_dir) or names[0].startswith("cuda")
        folder = self._lock_folder(names)
        locks = {name: folder / f"{_hardware_name(name)}.lock" for name in names}
        with holding_one(
            locks,
            waiting=waiting,
            timeout_s=self.timeout_s,
            is_shared=is_shared,
            kind="device",
            remedy="raise timeout_s, or choose another device",
        ) as name:
            yield name

    def _lock_folder(self, names: Sequence[str]) -> Path:
        if self.lock_dir:
            folder = Path(self.lock_dir)
        elif names[0].startswith("cuda"):
            return host_folder()
        else:
            project = os.environ.get("DAGSTER_HOME") or Path.cwd()
            word = hashlib.sha256(os.fsencode(os.path.realpath(project))).hexdigest()[:16]
            folder = user_folder() / f"cpu-{word}"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _slots_of_cores() -> int:
    """Return how many computations fit into the available cores with their threads."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 1) // torch.get_num_threads())


def _devices(requested: str, cpu_slots: int) -> list[str]:
    """Return the devices that match `requested`; CUDA_VISIBLE_DEVICES limits the CUDA devices."""
    import torch

    have = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    slots = [f"cpu:{i}" for i in range(cpu_slots)]
    allowed = {"auto": have or slots, "cuda": have, "cpu": slots}
    devices = allowed.get(requested, [requested] if requested in have else [])
    if not devices:
        raise ValueError(
            f"expected device {requested!r}, got only {[*have, 'cpu']}; set device to auto or to "
            "one of these, or check CUDA_VISIBLE_DEVICES"
        )
    return devices


def _hardware_name(device: str) -> str:
    """Return the UUID of a GPU, since its number can differ between processes."""
    import torch

    if device.startswith("cpu"):
        return device.replace(":", "-")
    return f"gpu-{torch.cuda.get_device_properties(int(device[5:])).uuid}"


def _torch_device(name: str) -> "torch.device":
    import torch

    return torch.device("cpu" if name.startswith("cpu") else name)


def _reset_peak(device: "torch.device") -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_bytes(device: "torch.device") -> int:
    """Return the peak memory, and release the cached memory of a GPU for the next lease."""
    import torch

    if device.type == "cuda":
        peak = int(torch.cuda.max_memory_allocated(device))
        torch.cuda.empty_cache()
        return peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
