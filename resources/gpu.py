"""One heavy computation per device and host: a lease on a GPU, or on a slot of the CPU.

The lease is a file lock, which the kernel frees however the holder ends. It is taken inside an op,
since a resource's own set-up would hold it for the whole run.
"""

import contextlib
import fcntl
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import dagster as dg
from pydantic import Field

if TYPE_CHECKING:
    import torch

POLL_S = 0.05
MAX_POLL_S = 1.0


@dataclass(slots=True)
class Lease:
    """A device that is ours; the figures are there once the lease has ended.

    `peak_memory_bytes`: of tensors on a GPU during the lease; on the CPU of the whole process.
    """

    device: "torch.device"
    batch_size: int
    busy_s: float = 0.0
    peak_memory_bytes: int = 0


class Gpu(dg.ConfigurableResource):
    """The device that a stage computes on."""

    device: str = Field(
        default="auto",
        description="auto (a GPU if there is one), cuda (any GPU), cuda:1 (that GPU), or cpu.",
    )
    batch_size: int = Field(default=8, description="Pictures computed at once.", ge=1)
    cpu_slots: int = Field(
        default=1, description="Heavy computations at once on a host without a GPU.", ge=1
    )
    lock_dir: str = Field(
        default="",
        description="Folder of the locks, one for all users of the host; empty: in the temporary "
        "folder.",
    )
    timeout_s: float = Field(default=3600.0, description="How long to wait for a device.", ge=0)

    @contextlib.contextmanager
    def lease(self, waiting: Callable[[str], object] = lambda _: None) -> Iterator[Lease]:
        """The first device that is or becomes free, for the length of the block.

        `waiting` is told once who holds the devices, where none is free at once.
        """
        locks = self._locks()
        with _held(locks, self.timeout_s, waiting) as name:
            lease = Lease(_torch_device(name), self.batch_size)
            started = time.monotonic()
            _reset_peak(lease.device)
            try:
                yield lease
            finally:
                lease.busy_s = time.monotonic() - started
                lease.peak_memory_bytes = _peak_bytes(lease.device)

    def _locks(self) -> dict[str, Path]:
        """Lock file of every device that would do; "cpu:1" is the second slot of the CPU."""
        folder = Path(self.lock_dir or Path(tempfile.gettempdir()) / "invertory-locks")
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # another user's, and open to all already
            folder.chmod(0o777)
        names = _devices(self.device, self.cpu_slots)
        return {name: folder / f"{_hardware_name(name)}.lock" for name in names}


def _devices(wanted: str, cpu_slots: int) -> list[str]:
    """Devices that `wanted` allows. CUDA counts only what CUDA_VISIBLE_DEVICES shows."""
    import torch

    have = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    slots = [f"cpu:{i}" for i in range(cpu_slots)]
    allowed = {"auto": have or slots, "cuda": have, "cpu": slots}
    found = allowed.get(wanted, [wanted] if wanted in have else [])
    if not found:
        raise ValueError(
            f"expected device {wanted!r}, got only {[*have, 'cpu']}; set device to auto or to one "
            "of these, or look at CUDA_VISIBLE_DEVICES"
        )
    return found


def _hardware_name(device: str) -> str:
    """The same GPU has another number in another process, but the same UUID."""
    import torch

    if device.startswith("cpu"):
        return device.replace(":", "-")
    return f"gpu-{torch.cuda.get_device_properties(int(device[5:])).uuid}"


def _torch_device(name: str) -> "torch.device":
    import torch

    return torch.device("cpu" if name.startswith("cpu") else name)


@contextlib.contextmanager
def _held(
    locks: dict[str, Path], timeout_s: float, waiting: Callable[[str], object]
) -> Iterator[str]:
    name, file = _wait(locks, timeout_s, waiting)
    try:
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield name
        file.truncate(0)
    finally:
        file.close()  # and with it the lock


def _wait(
    locks: dict[str, Path], timeout_s: float, waiting: Callable[[str], object]
) -> tuple[str, IO[str]]:
    deadline, pause_s = time.monotonic() + timeout_s, POLL_S
    while True:
        for name, path in locks.items():
            if file := _try(path):
                return name, file
        if pause_s == POLL_S:
            waiting(f"waits for a free device: {_holders(locks)}")
        if time.monotonic() >= deadline:
            raise TimeoutError(_who_holds(locks, timeout_s))
        time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
        pause_s = min(2 * pause_s, MAX_POLL_S)


def _try(path: Path) -> IO[str] | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    with contextlib.suppress(PermissionError):  # it is another user's: its mode is set already
        os.fchmod(descriptor, 0o666)
    file = os.fdopen(descriptor, "a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _who_holds(locks: dict[str, Path], timeout_s: float) -> str:
    return (
        f"expected a free device within {timeout_s:g} s, got none: {_holders(locks)}; wait for "
        "it, raise timeout_s, or choose another device"
    )


def _holders(locks: dict[str, Path]) -> str:
    return ", ".join(
        f"{name} is held by process {path.read_text().strip() or '?'}"
        for name, path in locks.items()
    )


def _reset_peak(device: "torch.device") -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_bytes(device: "torch.device") -> int:
    """Also hands the cached memory of a GPU back, for whoever leases it next."""
    import torch

    if device.type == "cuda":
        peak = int(torch.cuda.max_memory_allocated(device))
        torch.cuda.empty_cache()
        return peak
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
