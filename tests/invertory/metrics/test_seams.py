"""Seams between tiles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from invertory.metrics.seams import seam_excess, seams

BORDERS = (8, 16, 24)


def ramp(px: int = 32) -> Tensor:
    """A smooth image, brighter to the right."""
    return torch.linspace(-1, 1, px).expand(1, 3, px, px).clone()


def noise(px: int = 32) -> Tensor:
    return torch.randn(4, 3, px, px, generator=torch.Generator().manual_seed(0))


def stepped(image: Tensor, height: float) -> Tensor:
    """Columns of tiles; every second one is brighter by `height`."""
    index = torch.arange(image.shape[-1]) // 8 % 2
    return image + height * index


def test_a_smooth_image_has_no_seams() -> None:
    found = seams(ramp(), BORDERS)
    assert float(found.border) == pytest.approx(0, abs=1e-6)
    assert float(found.excess) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("height", [0.1, 0.5])
def test_a_step_at_the_borders_is_told_by_its_height(height: float) -> None:
    found = seams(stepped(ramp(), height), BORDERS)
    # across only: down there is none, and both count alike
    assert float(found.border) == pytest.approx(height / 2, rel=1e-4)
    assert float(found.inside) == pytest.approx(0, abs=1e-6)


def test_detail_everywhere_is_no_seam() -> None:
    found = seams(noise(64), range(8, 64, 8))
    assert found.ratio.sub(1).abs().max() < 0.1


def test_a_seam_in_detail_shows_against_the_original() -> None:
    original = noise(64)
    made = stepped(original, 1.5)
    borders = range(8, 64, 8)
    assert seam_excess(original, original, borders).abs().max() == 0
    assert (seam_excess(made, original, borders) > 0.1).all()


def test_an_edge_elsewhere_is_no_seam() -> None:
    image = torch.zeros(1, 3, 32, 32)
    image[..., 12:] = 1
    found = seams(image, BORDERS)
    assert float(found.border) == 0
    assert float(found.inside) > 0


def test_it_does_not_matter_which_way_an_image_lies() -> None:
    made = stepped(noise(), 0.7)
    torch.testing.assert_close(seams(made, BORDERS).border, seams(made.mT, BORDERS).border)


def test_a_flat_image_has_no_ratio() -> None:
    assert math.isnan(float(seams(torch.zeros(1, 3, 32, 32), BORDERS).ratio))


@pytest.mark.parametrize("borders", [(), (1,), (31,)])
def test_borders_that_cannot_be_told_are_refused(borders: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected borders from 2 to 30"):
        seams(ramp(), borders)
