"""What is sure, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.compare.evidence import (
    Compared,
    Difference,
    Price,
    compare,
    difference,
    each,
    ordered,
    together,
    trade,
)
from benchmarks.compare.results import PICTURE, NotMeasuredError, Results

RNG = np.random.default_rng(3)


def compared(gain: float, p: float, name: str = "x") -> Compared:
    return Compared(name, Difference(1 + gain, 1.0, p, 40), 1)


def test_each_is_as_sure_as_the_weakest() -> None:
    held = each([compared(1, 0.001), compared(1, 0.04, "weak")])
    assert held.is_held is True
    assert held.deciding.startswith("weak")
    tie = each([compared(1, 0.001), compared(0, 1.0, "tie")])
    assert tie.is_held is False
    assert tie.deciding.startswith("tie")


def test_one_of_several_has_to_be_surer() -> None:
    assert trade([compared(1, 0.03)]).is_held is True
    assert trade([compared(1, 0.03), compared(0, 1.0)]).is_held is False
    assert trade([compared(1, 0.02), compared(0, 1.0)]).is_held is True


def test_a_gain_does_not_outweigh_a_sure_loss() -> None:
    verdict = trade([compared(1, 0.001), compared(-1, 0.001, "loss")])
    assert verdict.is_held is False
    assert verdict.deciding.startswith("loss")
    assert trade([compared(1, 0.001), compared(-1, 0.04)]).is_held is True  # as good as chance


@pytest.mark.parametrize(("share", "is_held"), [(0.09, True), (0.11, False)])
def test_a_price_has_a_limit(share: float, is_held: bool) -> None:
    price = Price(compared(share, 0.5, "cost"), 0.1)
    verdict = trade([compared(1, 0.001)], [price])
    assert verdict.is_held is is_held
    assert ("cost" in verdict.deciding) is not is_held


def test_both_of_two_verdicts() -> None:
    good, bad = each([compared(1, 0.001, "good")]), each([compared(1, 0.5, "bad")])
    assert together(bad, good).deciding.startswith("bad")
    assert together(good, good).is_held is True


def chain(*means: float, num: int = 40) -> Results:
    results, rng = Results(), np.random.default_rng(0)
    for i, mean in enumerate(means):
        results.put("x", f"arm {i}", {"t": mean + rng.normal(0, 0.05, num)})
    return results


@pytest.mark.parametrize(
    ("means", "is_held"),
    [
        ((4, 3, 2, 1), True),
        ((4, 2, 2, 1), True),  # a tie is no step back
        ((4, 2, 3, 1), False),  # a step back is
        ((2, 2, 2, 2), False),
    ],
)
def test_a_tendency_may_pause_but_not_turn(means: tuple[float, ...], is_held: bool) -> None:
    results = chain(*means)
    arms = [f"arm {i}" for i in range(4)]
    verdict = ordered(results, ("x",), "t", arms, -1)
    assert verdict.is_held is is_held
    assert len(verdict.details) == 4


def test_edits_of_one_picture_are_one_piece_of_evidence() -> None:
    results = Results()
    shared = RNG.normal(0.05, 0.1, 10)  # a picture's own difference, in each of its 20 edits
    numbers = np.repeat(np.arange(10.0), 20)
    for arm, more in (("a", np.repeat(shared, 20)), ("b", np.zeros(200))):
        results.put("edit", arm, {"t": more, PICTURE: numbers})
    found = compare(results, ("edit",), "t", ("a", "b"), 1).found
    alone = difference(np.repeat(shared, 20), np.zeros(200))
    assert found.num_pictures == 10
    assert alone.p < found.p == pytest.approx(difference(shared, np.zeros(10)).p)
    assert "n = 200 of 10 pictures" in found.counted
    assert PICTURE not in results.measures("edit")


def test_pictures_of_two_parts_are_different_ones() -> None:
    results = chain(1, 2, num=6)
    for arm in ("arm 0", "arm 1"):
        results.put("y", arm, {"t": np.ones(4), PICTURE: np.array([0.0, 0.0, 1.0, 1.0])})
    numbers = results.pictures(("x", "y", "z"), "arm 0", "t")
    assert len(numbers) == 10
    assert len(set(numbers.tolist())) == 8
    with pytest.raises(NotMeasuredError, match="arm 0: no t of z"):
        results.pictures(("z",), "arm 0", "t")
