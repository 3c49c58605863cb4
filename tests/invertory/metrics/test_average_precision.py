"""Average precision against known values and scikit-learn's."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import average_precision_score

from invertory.metrics.average_precision import average_precision


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


def test_known_values() -> None:
    scores = column(0.9, 0.8, 0.7, 0.6)
    assert average_precision(scores, column(1, 1, 0, 0)).item() == 1
    assert average_precision(scores, column(0, 1, 0, 1)).item() == pytest.approx(
        (1 / 2 + 2 / 4) / 2
    )
    assert average_precision(scores, column(0, 0, 0, 1)).item() == pytest.approx(1 / 4)


def test_equal_scores_are_told_together() -> None:
    for labels in ((1, 0, 1, 0), (0, 0, 1, 1)):  # their order does not matter
        assert average_precision(torch.zeros(4, 1), column(*labels)).item() == 0.5


@pytest.mark.parametrize("levels", [3, 10, 10_000])
def test_it_agrees_with_scikit_learn(levels: int) -> None:
    rng = torch.Generator().manual_seed(levels)
    labels = torch.rand(200, 5, generator=rng) < torch.tensor([0.5, 0.1, 0.9, 0.02, 0.3])
    noise = torch.randn(200, 5, generator=rng)
    scores = ((labels + noise) * levels / 8).round()
    found = average_precision(scores, labels)
    expected = [average_precision_score(labels[:, i], scores[:, i]) for i in range(5)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_one_class_alone_has_none() -> None:
    scores = torch.rand(6, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.stack([torch.ones(6), torch.zeros(6)], 1)
    assert average_precision(scores, labels).isnan().all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        average_precision(torch.zeros(3, 2), torch.zeros(3))
    with pytest.raises(ValueError, match="finite"):
        average_precision(column(1, torch.nan), column(0, 1))
