"""SIGINT and SIGTERM end a command within seconds, whatever it is doing.

While Dagster runs a job it replaces the handlers of both signals: between two steps, and while a
step waits for its retry, it records a signal and continues. Therefore a thread also reads the
signals, and ends the process if nothing else has in time. No work is lost: a table's file is
complete or absent, and the next run resumes after the last chunk.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

GRACE_S = 8.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Raised when a signal asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def install_handlers() -> None:
    """Make both signals raise `Stopped` in the main thread, unless a handler is replaced later."""
    for number in SIGNALS:
        signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


@dataclass
class Stop:
    """The first signal received, if any."""

    number: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `Stopped` if a signal came, even if other code has swallowed it."""
        if self.number:
            raise Stopped(self.number)


@contextlib.contextmanager
def bounded_stop(before_exit: Callable[[], object] = lambda: None) -> Iterator[Stop]:
    """Ensure that a signal during the block ends the process within `GRACE_S`.

    `before_exit` is called before the process is killed. Outside the main thread, where no signals
    arrive, this does nothing.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, stop, before_exit), daemon=True).start()
    try:
        yield stop
    finally:
        stop.is_over.set()
        signal.set_wakeup_fd(previous)
        writer.close()


def _watch(reader: socket.socket, stop: Stop, before_exit: Callable[[], object]) -> None:
    with reader:
        while numbers := reader.recv(64):
            received = [number for number in numbers if number in SIGNALS]
            if received and not stop.number:
                stop.number = received[0]
                threading.Thread(target=_cut_off, args=(stop, before_exit), daemon=True).start()


def _cut_off(stop: Stop, before_exit: Callable[[], object]) -> None:
    if stop.is_over.wait(GRACE_S):
        return
    with contextlib.suppress(Exception):
        before_exit()
    print(f"invertory: {interruption_message(stop.number)}", file=sys.stderr, flush=True)
    os._exit(128 + stop.number)


def interruption_message(number: int) -> str:
    """Return the message for the user."""
    name = signal.Signals(number).name
    return f"interrupted by {name}; run the same command again to resume"
