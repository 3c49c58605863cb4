"""ECS at known values; the distance is the squared difference of the means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from invertory.metrics.edit_consistency import Cycle, edit_consistency, edit_cycle


class Means:
    name = "means"

    def features(self, x: Tensor) -> list[Tensor]:
        return [x.mean((1, 2, 3))]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        return (fa[0] - fb[0]).abs()


def flat(*values: float) -> Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 4, 4)


def test_a_cycle_that_comes_back_is_perfect() -> None:
    found = edit_consistency(Cycle(flat(0.1, 0.2), flat(0.5, 0.6), flat(0.1, 0.2)), Means())
    assert found.tolist() == [0, 0]


def test_a_cycle_that_stays_at_the_edit_scores_two() -> None:
    # d(p, cyc) = d(p, edit) = 0.5 and d(edit, cyc) = 0: 2 * 0.5 / 0.5
    found = edit_consistency(Cycle(flat(0.0), flat(0.5), flat(0.5)), Means())
    assert found.item() == pytest.approx(2)


def test_equal_distances_score_one() -> None:
    # 2 * 0.5 / (0.75 + 0.25), all of them exact
    found = edit_consistency(Cycle(flat(0.0), flat(0.75), flat(0.5)), Means())
    assert found.item() == pytest.approx(1)


def test_an_edit_that_changes_nothing_has_no_score() -> None:
    same = flat(0.1)
    assert math.isnan(edit_consistency(Cycle(same, same, same), Means()).item())


def test_the_cycle_edits_inverts_and_undoes() -> None:
    w_plus = torch.tensor([[[0.1]], [[0.2]]])

    def invert(images: Tensor) -> Tensor:
        assert torch.is_grad_enabled()
        return images.mean((1, 2, 3))[:, None, None] + 0.01

    found = edit_cycle(
        w_plus,
        edit=lambda w: w + 0.3,
        undo=lambda w: w - 0.3,
        synthesis=lambda w: w[:, :, :, None].expand(-1, 3, 4, 4),
        invert=invert,
    )
    torch.testing.assert_close(found.inverted, flat(0.1, 0.2))
    torch.testing.assert_close(found.edited, flat(0.4, 0.5))
    torch.testing.assert_close(found.cycled, flat(0.11, 0.21))
