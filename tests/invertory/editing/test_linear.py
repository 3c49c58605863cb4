"""Edits move the named rows by the given step."""

import pytest
import torch

from invertory.boundaries import project, unit
from invertory.editing import EDITORS
from invertory.editing.linear import edit, parse_layers


@pytest.fixture
def w_plus() -> torch.Tensor:
    return torch.randn(3, 10, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def normal() -> torch.Tensor:
    return unit(torch.tensor([[1.0, -2.0, 0.5, 0.0, 3.0, 1.0]]))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("all", list(range(10))),
        ("4", [4]),
        ("0-5", [0, 1, 2, 3, 4, 5]),
        ("2,4-7", [2, 4, 5, 6, 7]),
        (" 7 - 9 , 8 ", [7, 8, 9]),
    ],
)
def test_layers(text: str, rows: list[int]) -> None:
    assert parse_layers(text, 10) == rows


@pytest.mark.parametrize(
    "text", ["", "a", "3-", "-3", "1;2", "1.5", "2,,3", "all,3", "10", "5-2", "²"]
)
def test_layers_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected layers"):
        parse_layers(text, 10)


def test_relative_step_moves_the_distance_by_the_step(
    w_plus: torch.Tensor, normal: torch.Tensor
) -> None:
    moved = edit(w_plus, normal, 2.5)
    assert moved.dtype == w_plus.dtype
    torch.testing.assert_close(project(moved, normal), project(w_plus, normal) + 2.5)


def test_only_the_named_rows_move(w_plus: torch.Tensor, normal: torch.Tensor) -> None:
    moved = edit(w_plus, normal, -1.0, "2,4-6")
    still = [0, 1, 3, 7, 8, 9]
    assert torch.equal(moved[:, still], w_plus[:, still])
    torch.testing.assert_close(moved[:, 5], w_plus[:, 5] - normal.float())


def test_step_per_row_of_the_batch(w_plus: torch.Tensor, normal: torch.Tensor) -> None:
    steps = torch.tensor([-1.0, 0.0, 3.0])
    moved = edit(w_plus, normal, steps)
    assert torch.equal(moved[1], w_plus[1])
    for i in range(3):
        assert torch.equal(moved[i : i + 1], edit(w_plus[i : i + 1], normal, float(steps[i])))


def test_absolute_step_ends_at_the_distance(w_plus: torch.Tensor, normal: torch.Tensor) -> None:
    moved = edit(w_plus, normal, 1.5, mode="absolute", offset=0.2)
    torch.testing.assert_close(
        project(moved, normal) + 0.2, torch.full((3,), 1.5).double(), atol=1e-6, rtol=0
    )


def test_absolute_step_of_some_rows_is_refused(w_plus: torch.Tensor, normal: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="use relative steps"):
        edit(w_plus, normal, 1.0, "0-3", mode="absolute")


def test_editors_are_named() -> None:
    assert EDITORS["linear"] is edit
