"""Overlap work: produce items ahead of their use in a thread, and process images on all cores.

Decoding and encoding overlap because Pillow releases the GIL; so do file I/O and the computation
of a device. The order of the items never changes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Final, TypeVar, cast

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_THREADS: Final = 8


def ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """Yield the items, each produced in a background thread while the caller uses the one before.

    At most `depth` items are ready or being produced beyond the one the caller has. An error is
    raised in place of the item it prevented. Closing waits only for the item being produced.
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
            yield cast("Item", item)
    finally:
        thread.stop()


def on_all_cores(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return [function(item), ...], computed by one thread per core, at most `MAX_THREADS`."""
    num_threads = min(num_cores(), MAX_THREADS, len(items))
    if num_threads < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(num_threads, "pictures") as pool:
        return list(pool.map(function, items))


def num_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_END: Final = object()


class _Ahead(threading.Thread):
    """Produce items while there are permits; put (item, None), then (_END, the error or None)."""

    def __init__(self, items: Iterable[object], depth: int) -> None:
        super().__init__(name="ahead", daemon=True)
        self._items = items
        self._permits = threading.Semaphore(depth)
        self._results: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
        self._is_stopped = False

    def run(self) -> None:
        iterator = iter(self._items)
        try:
            while True:
                self._permits.acquire()
                if self._is_stopped:
                    break
                self._results.put((next(iterator), None))
        except StopIteration:
            self._results.put((_END, None))
        except BaseException as error:  # re-raised in the caller's thread
            self._results.put((_END, error))
        finally:
            if hasattr(iterator, "close"):  # close files in the thread that opened them
                iterator.close()

    def take(self) -> object:
        """Return the next item, or `_END` after the last, and let the thread produce another."""
        item, error = self._results.get()
        if error is not None:
            raise error
        self._permits.release()
        return item

    def stop(self) -> None:
        self._is_stopped = True
        self._permits.release()
        self.join()
