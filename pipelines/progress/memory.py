"""Memory of a step, not of all that its process did before."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

PROC = Path("/proc/self")


def give_back() -> None:
    """Hand freed memory back to the kernel, so that each step begins with what is in use.

    The command line has glibc keep it (`invertory.pipelines.cli.main`), in holes between small
    blocks that live on, where the next large one does not fit: without this a process grew by some
    7 kB a picture, none of it in use. A twentieth of a second for 200 MB; where there is no glibc,
    nothing.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_peak() -> None:
    """Count from here on (Linux); where the kernel refuses, the peak is the whole process's."""
    with contextlib.suppress(OSError):
        (PROC / "clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """Largest resident size since `reset_peak`."""
    with contextlib.suppress(OSError):
        for line in (PROC / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
