"""SIGINT and SIGTERM end a command within seconds, whatever it is doing.

Dagster replaces the handlers of both signals while it runs a job: between two steps, and while a
step waits for its next try, it takes note of a signal and goes on. So a thread of ours reads the
signals as well, and ends the process where nobody else has done so in time. Nothing is lost by
that: a table's file is whole or absent, and the next run goes on from the last chunk.
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
    """A signal that asks the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def raise_stopped() -> None:
    """From here on both signals raise `Stopped` in the main thread, where nothing replaces that."""
    for number in SIGNALS:
        signal.signal(number, _raise)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


@dataclass
class Stop:
    """Which signal came first, if any did."""

    number: int = 0
    is_over: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        """Raise `Stopped` where a signal came, though somebody else may have swallowed it."""
        if self.number:
            raise Stopped(self.number)


@contextlib.contextmanager
def bounded_stop(before_exit: Callable[[], object] = lambda: None) -> Iterator[Stop]:
    """Within the block a signal ends the process after `GRACE_S` at the latest.

    `last_words` is called before a process is cut off. Outside the main thread, where no signal
    arrives, nothing is done.
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
    """What the user is told."""
    name = signal.Signals(number).name
    return f"interrupted by {name}; the same command goes on where this one stopped"
