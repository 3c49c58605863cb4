"""The improved-target score, and the paired test against SciPy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from invertory.metrics.improved_target import improved_target, paired_test


def test_the_gain_is_towards_the_aim() -> None:
    before, after = torch.tensor([0.1, 0.9, 0.5]), torch.tensor([0.8, 0.3, 0.4])
    added = torch.tensor([True, False, True])
    torch.testing.assert_close(
        improved_target(before, after, added), torch.tensor([0.7, 0.6, -0.1])
    )
    torch.testing.assert_close(improved_target(before, after), torch.tensor([0.7, -0.6, -0.1]))


def test_the_paired_test_is_scipys() -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 30))
    a += 0.5
    found, expected = paired_test(a, b), stats.ttest_rel(a, b)
    assert found.t_statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.mean, found.n) == (pytest.approx((a - b).mean()), 30)


def test_pairs_without_a_score_are_left_out() -> None:
    assert paired_test([1, 2, math.nan, 4], [0, 0, 0, math.nan]).n == 2


def test_equal_differences_need_no_variance() -> None:
    assert paired_test([1.0, 2.0], [1.0, 2.0]).p_value == 1
    assert paired_test([2.0, 3.0], [1.0, 2.0]).p_value == 0


def test_edits_of_one_image_count_as_one_piece_of_evidence() -> None:
    a = np.random.default_rng(1).normal(0.3, 1, 12)
    alone = paired_test(a, np.zeros(12))
    repeated = paired_test(np.repeat(a, 5), np.zeros(60), np.repeat(np.arange(12), 5))
    assert repeated.p_value == pytest.approx(alone.p_value)
    assert (repeated.n, repeated.num_groups) == (60, 12)
    assert paired_test(np.repeat(a, 5), np.zeros(60)).p_value < alone.p_value
    each_its_own = paired_test(a, np.zeros(12), np.arange(12)[::-1])
    assert each_its_own.t_statistic == pytest.approx(alone.t_statistic)


def test_scores_of_different_edits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3,\)"):
        paired_test([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="two pairs or more"):
        paired_test([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match="two groups of pairs or more"):
        paired_test([1, 2, 3], [1, 2, 4], [7, 7, 7])
    with pytest.raises(ValueError, match=r"groups \(2,\)"):
        paired_test([1, 2, 3], [1, 2, 4], [7, 7])
    with pytest.raises(ValueError, match="before and after"):
        improved_target(torch.zeros(2), torch.zeros(3))
