"""Work that need not wait: items made in a thread ahead of their use, pictures on all cores.

What overlaps so is decoding and encoding, which Pillow does without Python's lock, reading and
writing, and a device that computes by itself. The order of items never changes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final, TypeVar, cast

Given = TypeVar("Given")
Made = TypeVar("Made")

MAX_THREADS: Final = 8


def ahead(items: Iterable[Given], depth: int = 1) -> Generator[Given, None, None]:
    """The items, made in a thread of their own while the caller is at work on the one before.

    No more than `depth` are made or in the making beside the one handed out. An error comes out in
    the place of the item that it prevented. Closing waits for the item in the making, no longer.
    """
    if depth < 1:
        raise ValueError(f"expected a depth of 1 or more, got {depth}")
    thread = _Ahead(items, depth)
    thread.start()
    try:
        while True:
            item = thread.take()
            if item is _END:
                return
            yield cast("Given", item)
    finally:
        thread.stop()


def on_all_cores(make: Callable[[Given], Made], items: Sequence[Given]) -> list[Made]:
    """[make(item), ...] by as many threads as there are cores, at most `MAX_THREADS`."""
    num_threads = min(num_cores(), MAX_THREADS, len(items))
    if num_threads < 2:
        return [make(item) for item in items]
    with ThreadPoolExecutor(num_threads, "pictures") as pool:
        return list(pool.map(make, items))


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_END: Final = object()


class _Ahead(threading.Thread):
    """Makes items while there are permits; puts (item, None) or (_END, the error or None)."""

    def __init__(self, items: Iterable[object], depth: int) -> None:
        super().__init__(name="ahead", daemon=True)
        self._items = items
        self._permits = threading.Semaphore(depth)
        self._made: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
        self._is_stopped = False

    def run(self) -> None:
        iterator = iter(self._items)
        try:
            while True:
                self._permits.acquire()
                if self._is_stopped:
                    break
                self._made.put((next(iterator), None))
        except StopIteration:
            self._made.put((_END, None))
        except BaseException as error:  # it is the caller's, whatever it is
            self._made.put((_END, error))
        finally:
            if hasattr(iterator, "close"):  # a generator's files, in the thread that opened them
                iterator.close()

    def take(self) -> object:
        """The next item, `_END` after the last; its maker may go on with the one after it."""
        item, error = self._made.get()
        if error is not None:
            raise error
        self._permits.release()
        return item

    def stop(self) -> None:
        self._is_stopped = True
        self._permits.release()
        self.join()
