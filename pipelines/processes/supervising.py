"""A process between `invertory ui` and the command it serves; it ends everything if either ends.

    python -m invertory.pipelines.processes.supervising DESCRIPTOR COMMAND...

The descriptor is the read end of a pipe whose other end `invertory ui` holds: however that process
ends, the kernel closes its end. The command stays in the process group of this process, and gets a
signal from the kernel if this process is killed.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from types import FrameType

GRACE_S = 3.0  # before the command is killed, once `invertory ui` has ended
PR_SET_PDEATHSIG = 1


def supervise(descriptor: int, command: Sequence[str]) -> int:
    """Run `command` and return its exit code; end everything if `invertory ui` ends first."""
    process = subprocess.Popen(command, preexec_fn=ends_with_parent(signal.SIGTERM))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _forward(process))
    threading.Thread(target=_end_with, args=(descriptor, process), daemon=True).start()
    return process.wait()


def ends_with_parent(number: int) -> Callable[[], None]:
    """Return a function for a child to call first: on Linux it gets a signal if its parent ends."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    parent = os.getpid()

    def ask_kernel() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # the parent has already ended
                os.kill(os.getpid(), number)

    return ask_kernel


def _forward(process: "subprocess.Popen[bytes]") -> Callable[[int, FrameType | None], None]:
    def handler(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)

    return handler


def _end_with(descriptor: int, process: "subprocess.Popen[bytes]") -> None:
    while os.read(descriptor, 1):
        pass  # no data comes: read returns when the other end is closed
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        process.send_signal(signal.SIGINT)
        process.wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2:]))
