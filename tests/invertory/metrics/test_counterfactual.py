from __future__ import annotations

import torch

from invertory.metrics.counterfactual import compare_edit, relative_gain


def images() -> tuple[torch.Tensor, torch.Tensor]:
    """Portraits and their counterfactuals."""
    rng = torch.Generator().manual_seed(0)
    before = torch.rand(3, 3, 8, 8, generator=rng) - 0.5
    return before, before + 0.2 * torch.randn(3, 3, 8, 8, generator=rng)


def test_the_exact_change_has_no_error_and_cosine_one() -> None:
    before, after = images()
    found = compare_edit(before, after, before, after)
    assert found.error.max() == 0
    assert (found.gain == found.idle_error).all()
    torch.testing.assert_close(found.cosine, torch.ones(3))
    torch.testing.assert_close(relative_gain(found), torch.ones(3))


def test_the_opposite_change_is_worse_than_none() -> None:
    before, after = images()
    found = compare_edit(before, 2 * before - after, before, after)
    torch.testing.assert_close(found.error, 4 * found.idle_error)
    torch.testing.assert_close(found.cosine, -torch.ones(3))
    torch.testing.assert_close(relative_gain(found), torch.full((3,), -3.0))


def test_the_cosine_does_not_see_what_the_inversion_lost() -> None:
    before, after = images()
    lost = 0.1
    found = compare_edit(before + lost, after + lost, before, after)
    torch.testing.assert_close(found.cosine, torch.ones(3))
    torch.testing.assert_close(found.error, torch.full((3,), lost**2))


def test_an_edit_that_does_nothing_gains_nothing_and_has_no_direction() -> None:
    before, after = images()
    found = compare_edit(before, before, before, after)
    assert (found.gain == 0).all()
    assert found.cosine.isnan().all()
