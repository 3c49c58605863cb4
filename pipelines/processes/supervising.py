"""A process between `invertory ui` and what it serves, which ends all of it when either is gone.

    python -m invertory.pipelines.processes.supervising DESCRIPTOR COMMAND...

The descriptor is the reading end of a pipe that `invertory ui` holds the other end of: however that
process ends, the kernel closes its end. What is served stays in the process group that this process
leads, and is told by the kernel when this process is killed.
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

GRACE_S = 3.0  # until what is served is killed, once nobody is left to be served
PR_SET_PDEATHSIG = 1


def supervise(descriptor: int, command: Sequence[str]) -> int:
    """Run `command` until it ends; give its exit code. Everything ends with the other process."""
    process = subprocess.Popen(command, preexec_fn=ends_with_parent(signal.SIGTERM))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _forward(process))
    threading.Thread(target=_end_with, args=(descriptor, process), daemon=True).start()
    return process.wait()


def ends_with_parent(number: int) -> Callable[[], None]:
    """What a child calls before it runs: on Linux it gets the signal when its parent ends."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    parent = os.getpid()

    def ask_kernel() -> None:
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, number)
            if os.getppid() != parent:  # it ended in between
                os.kill(os.getpid(), number)

    return ask_kernel


def _forward(process: "subprocess.Popen[bytes]") -> Callable[[int, FrameType | None], None]:
    def handler(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)

    return handler


def _end_with(descriptor: int, process: "subprocess.Popen[bytes]") -> None:
    while os.read(descriptor, 1):
        pass  # nobody writes: this returns when the other end is closed
    with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
        process.send_signal(signal.SIGINT)
        process.wait(GRACE_S)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2:]))
