"""Measure and release the memory of one step, independent of earlier steps in the process."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

PROC = Path("/proc/self")


def give_back() -> None:
    """Return freed memory to the kernel, so that a step starts with only the memory in use.

    The command line configures glibc to keep freed memory (`invertory.pipelines.cli.main`). It is
    fragmented by small blocks that stay allocated, so that a large block does not fit: without
    this call a process grew by about 7 kB of unused memory per image. The call takes about 0.05 s
    for 200 MB, and does nothing without glibc.
    """
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def reset_peak() -> None:
    """Restart the peak (Linux); if the kernel refuses, the peak is that of the whole process."""
    with contextlib.suppress(OSError):
        (PROC / "clear_refs").write_text("5")


def peak_rss_bytes() -> int:
    """Return the largest resident size since `reset_peak`."""
    with contextlib.suppress(OSError):
        for line in (PROC / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # Linux counts in KiB
