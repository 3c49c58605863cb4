"""Items produced ahead keep their order, limit and errors, and no thread is left behind."""

import threading
import time

import pytest

from invertory.ops.ahead import ahead, on_all_cores


def test_items_keep_their_order():
    assert list(ahead(range(50), depth=3)) == list(range(50))


@pytest.mark.parametrize("depth", [1, 3])
def test_at_most_depth_items_are_produced_ahead(depth):
    made = []
    items = ahead((made.append(i) or i for i in range(20)), depth)
    for taken in range(1, 6):
        next(items)
        until = time.monotonic() + 60
        while len(made) < taken + depth and time.monotonic() < until:
            time.sleep(0.001)
        time.sleep(0.01)  # what is made too early, if anything, comes now
        assert len(made) == taken + depth  # the one in hand is made already
    items.close()


def test_an_error_is_raised_in_place_of_its_item():
    def broken():
        yield 1
        raise ValueError("the second cannot be made")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="the second cannot be made"):
        next(items)


def test_closing_ends_the_thread_and_closes_its_iterator():
    closed_in = []

    def endless():
        try:
            while True:
                yield threading.current_thread()
        finally:
            closed_in.append(threading.current_thread())

    items = ahead(endless())
    maker = next(items)
    items.close()
    assert closed_in == [maker] and not maker.is_alive()


def test_nothing_starts_before_the_first_item_is_requested():
    before = threading.active_count()
    items = ahead(range(3))
    assert threading.active_count() == before
    items.close()


def test_a_depth_below_one_is_refused():
    with pytest.raises(ValueError, match="depth of 1 or more, got 0"):
        next(ahead([], 0))


def test_all_cores_keep_the_order():
    assert on_all_cores(lambda i: i * i, list(range(30))) == [i * i for i in range(30)]
    assert on_all_cores(str, []) == []
