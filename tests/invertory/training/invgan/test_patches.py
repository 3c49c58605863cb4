"""Patches on which a training of InvGAN is evaluated."""

from __future__ import annotations

import numpy as np

from invertory.training.invgan.trainer import spread_patches


def test_patches_held_out_go_from_place_to_place() -> None:
    images = np.zeros((5, 8, 8, 3), np.uint8)
    images[:, :4, 4:], images[:, 4:, :4], images[:, 4:, 4:] = 1, 2, 3
    found = spread_patches(images, 4)
    assert found.shape == (5, 4, 4, 3)
    assert [int(p.min()) for p in found] == [int(p.max()) for p in found] == [0, 1, 2, 3, 0]


def test_whole_images_stay_as_they_are() -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    assert spread_patches(images, 8) is images
