from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invertory.editing import EDITORS, ganspace
from invertory.editing.ganspace import Components, components_of, find_components
from invertory.generators.toy import ToyGenerator

AXES = torch.tensor([[0.0, 1.0, 0.0], [0.6, 0.0, 0.8], [0.8, 0.0, -0.6]])
SPREADS = torch.tensor([3.0, 2.0, 0.5])


def draws(num: int = 20_000) -> Tensor:
    """Draws of w with known axes, deviations and mean."""
    z = torch.randn(num, 3, generator=torch.Generator().manual_seed(0))
    return torch.tensor([1.0, -1.0, 2.0]) + (z * SPREADS) @ AXES


def found(num: int = 3) -> Components:
    return find_components(draws().split(3000), num)


def test_known_axes_are_found_the_widest_first() -> None:
    components = found()
    torch.testing.assert_close(components.deviations.float(), SPREADS, rtol=0.02, atol=0)
    cosines = (components.directions.float() * AXES).sum(1)
    assert cosines.min() > 0.999  # the signs too: the largest entry of each axis is positive
    torch.testing.assert_close(components.explained.sum(), torch.tensor(1.0).double())


def test_batches_do_not_change_what_is_found() -> None:
    once, parts = find_components([draws()]), find_components(draws().split(7000))
    torch.testing.assert_close(once.directions, parts.directions)
    torch.testing.assert_close(once.deviations, parts.deviations)


def test_coordinates_are_in_deviations() -> None:
    along = found().coordinates(draws())
    torch.testing.assert_close(along.mean(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(along.std(0), torch.ones(3).double())


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_component_of_an_attribute_is_that_of_its_score(sign: float) -> None:
    w = draws(2000)
    score = torch.sigmoid(0.3 * sign * (w @ AXES[1]))
    number, correlation = found().matching(w, score)
    assert number == 1
    assert correlation * sign > 0.9


def test_an_edit_moves_the_named_rows_by_deviations() -> None:
    components, w_plus = found(), torch.zeros(2, 4, 3)
    moved = EDITORS["ganspace"](w_plus, components.move(0), 2.0, "0-1")
    assert moved[:, 2:].abs().max() == 0
    expected = torch.zeros(2, 2, 3)
    expected[..., 1] = 2 * float(components.deviations[0])
    torch.testing.assert_close(moved[:, :2], expected, atol=0.1, rtol=0)
    assert EDITORS["ganspace"] is ganspace.edit


def test_a_generator_has_as_many_components_as_were_asked_for() -> None:
    components = components_of(ToyGenerator(frequencies=2), 5, num_samples=2000)
    assert components.directions.shape == (5, 12)
    # the toy's w is a rotated standard normal about its mean
    torch.testing.assert_close(components.deviations, torch.ones(5).double(), atol=0.1, rtol=0)


def test_components_of_another_generator_are_refused() -> None:
    with pytest.raises(ValueError, match="expected w \\[N, 3\\]"):
        found().coordinates(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="within 0-2"):
        found().move(3)
