"""Peak memory of a step, not of all that its process did before."""

from __future__ import annotations

import contextlib
import resource
import sys
from pathlib import Path

PROC = Path("/proc/self")


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
