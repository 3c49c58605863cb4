from __future__ import annotations

import math

import numpy as np
import pytest

from invertory.metrics.spread import spread_of


def test_mean_and_deviation_are_those_of_the_values() -> None:
    found = spread_of([1.0, 2.0, 3.0, 4.0])
    assert found.n == 4
    assert found.mean == 2.5
    assert found.std == pytest.approx(np.std([1, 2, 3, 4], ddof=1))
    assert found.low < 2.5 < found.high


def test_rejected_rows_are_left_out() -> None:
    assert spread_of([1.0, math.nan, 3.0, math.inf])[:2] == (2, 2.0)


def test_the_interval_is_that_of_a_normal_mean() -> None:
    values = np.random.default_rng(1).normal(5, 2, 4000)
    found = spread_of(values)
    half = 1.96 * 2 / math.sqrt(4000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_the_same_values_have_the_same_interval() -> None:
    assert spread_of([1.0, 2.0, 5.0]) == spread_of([1.0, 2.0, 5.0])


def test_nothing_and_a_single_value_have_no_deviation() -> None:
    assert spread_of([]).n == 0
    assert math.isnan(spread_of([]).mean)
    assert spread_of([3.0])[:2] == (1, 3.0)
    assert math.isnan(spread_of([3.0]).std)
