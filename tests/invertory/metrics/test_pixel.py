"""Pixel errors at known values."""

from __future__ import annotations

import math

import pytest
import torch

from invertory.metrics.pixel import mse, psnr_db


def test_black_against_white_is_the_worst_case() -> None:
    black, white = -torch.ones(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    assert mse(black, white).tolist() == [4, 4]
    assert psnr_db(black, white).tolist() == [0, 0]


def test_each_image_has_its_own_error() -> None:
    a = torch.zeros(2, 3, 4, 4)
    b = torch.stack([torch.full((3, 4, 4), 0.2), torch.full((3, 4, 4), 0.02)])
    torch.testing.assert_close(psnr_db(a, b), torch.tensor([20.0, 40.0]))


def test_equal_images_have_infinite_psnr() -> None:
    assert psnr_db(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 2, 2)).item() == math.inf


def test_images_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="resize one"):
        mse(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 8, 8))
