"""SWD against the authors' code, and at known values."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invertory.metrics.swd import (
    SlicedWasserstein,
    laplacian_pyramid,
    patches_at,
    sliced_wasserstein,
    standardised,
)


@pytest.fixture
def golden(shared: Callable[[str], Path]) -> dict[str, Tensor]:
    with np.load(shared("data/golden/metrics/swd.npz")) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture
def settings(shared: Callable[[str], Path]) -> dict[str, Any]:
    """What the reference drew, and for which resolutions."""
    return json.loads(shared("data/golden/metrics/metrics.json").read_text())["swd"]


def doubled(x: Tensor) -> Tensor:
    return x.float().repeat_interleave(2, 2).repeat_interleave(2, 3)


def test_the_pyramid_is_the_references(golden: dict[str, Tensor]) -> None:
    x = doubled(torch.stack([golden["reals"][0], golden["fakes"][0]]))
    for i, level in enumerate(laplacian_pyramid(x)):
        expected = golden[f"pyramid/level{i}"]
        limit = 1e-5 * float(expected.abs().max())  # what the golden files ask
        torch.testing.assert_close(level, expected, rtol=0, atol=limit)


def test_the_references_patches_and_directions_give_its_distances(
    golden: dict[str, Tensor],
) -> None:
    sets = [laplacian_pyramid(doubled(golden[name])) for name in ("reals", "fakes")]
    directions = golden["small/directions"][1]
    for i in range(3):
        # the reference lays a patch out (channel, x, y)
        real, made = (
            standardised(
                patches_at(levels[i], golden["small/patch_centres"][part, i]).transpose(2, 3)
            )
            for part, levels in enumerate(sets)
        )
        found = 1000 * sliced_wasserstein(real, made, list(directions[i]))
        assert found == pytest.approx(float(golden["small/swd_fakes_vs_reals"][i]), rel=1e-5)


def test_descriptors_are_the_references(golden: dict[str, Tensor]) -> None:
    a, b = standardised(golden["desc/A"]), standardised(golden["desc/B"])
    torch.testing.assert_close(a, golden["desc/A_final"], rtol=1e-5, atol=1e-5)
    found = sliced_wasserstein(a, b, list(golden["desc/directions_normalised"]))
    assert found == pytest.approx(float(golden["desc/sliced_wasserstein_2x8"]), rel=1e-5)


def test_our_own_draws_come_near_the_references(
    golden: dict[str, Tensor], settings: dict[str, Any]
) -> None:
    few = SlicedWasserstein(
        patches_per_image=settings["small"]["nhoods_per_image"],
        repeats=settings["small"]["dir_repeats"],
        directions=settings["small"]["dirs_per_repeat"],
    )
    found = few(doubled(golden["reals"]), doubled(golden["fakes"]))
    assert list(found) == settings["resolutions"]
    *expected, _ = golden["small/swd_fakes_vs_reals"].tolist()  # the last is the average
    assert list(found.values()) == pytest.approx(expected, rel=0.25)


def test_the_bands_add_up_to_the_image() -> None:
    x = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(laplacian_pyramid(x)[0], x)  # 16 px: nothing to split off
    flat = laplacian_pyramid(torch.full((1, 3, 32, 32), 0.5))
    torch.testing.assert_close(flat[0], torch.zeros(1, 3, 32, 32), rtol=0, atol=1e-6)
    torch.testing.assert_close(flat[1], torch.full((1, 3, 16, 16), 0.5))


def test_a_shift_along_a_direction_is_its_distance() -> None:
    a = torch.rand(50, 2, generator=torch.Generator().manual_seed(0))
    unit = torch.tensor([[1.0], [0.0]])
    assert sliced_wasserstein(a, a.flip(0) + unit.T, [unit]) == pytest.approx(1, rel=1e-5)


def test_the_same_seed_gives_the_same_distance() -> None:
    rng = torch.Generator().manual_seed(0)
    real, made = torch.rand(2, 4, 3, 32, 32, generator=rng)
    few = SlicedWasserstein(patches_per_image=8, directions=8)
    assert few(real, made) == few(real, made)


def test_sets_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="same number of square images"):
        SlicedWasserstein()(torch.zeros(2, 3, 32, 32), torch.zeros(3, 3, 32, 32))
