"""The benchmarks of key frames and deblurring, on the toy generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks import deblur, key_frames
from benchmarks.key_frames import LIMIT, LINEAR, PIXELS
from invertory.editing.tiling import TiledPair
from invertory.generators.toy import ToyGenerator
from invertory.perceptual import PixelPyramid

GENERATOR = ToyGenerator(resolution=16, frequencies=3)


class Exact(nn.Module):
    """The toy's own inverse, as an encoder."""

    resolution, num_ws, w_dim = 16, GENERATOR.num_ws, GENERATOR.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return GENERATOR.invert_exactly(x)


PAIR = TiledPair.of(Exact(), GENERATOR, tiles=2)


def test_a_scene_moves_smoothly_and_stays_the_same_person() -> None:
    (frames,) = key_frames.sequences(1, 17, 32)
    (again,) = key_frames.sequences(1, 17, 32)
    assert frames.shape == (17, 3, 32, 32)
    assert torch.equal(frames, again)
    steps = frames.diff(dim=0).abs().mean((1, 2, 3))
    assert steps.min() > 0
    assert steps.max() < 0.2


def test_every_arm_fills_in_all_frames() -> None:
    (frames,) = key_frames.sequences(1, 9, 32)
    made = key_frames.filled(frames, 4, PAIR)
    assert {PIXELS, LINEAR, LIMIT} < set(made)
    assert all(images.shape == frames.shape for images in made.values())
    # a linear pair interpolates codes as pixels: the same frames, but for what it cannot draw
    same = PAIR.images(PAIR.codes(made[PIXELS])).clamp(-1, 1)
    torch.testing.assert_close(made[LINEAR], same, rtol=0, atol=1e-4)


def test_key_frames_themselves_are_not_measured() -> None:
    (frames,) = key_frames.sequences(1, 9, 32)
    wrong = frames.clone()
    wrong[::4] = 0
    found = key_frames.measured(wrong, frames, frames, 4, PixelPyramid())
    assert np.isinf(found["PSNR (dB)"]).all()
    assert len(found["SSIM"]) == 6


def test_even_motion_has_no_jolt() -> None:
    frames = torch.linspace(0, 1, 5).view(-1, 1, 1, 1).expand(5, 3, 4, 4)
    assert float(key_frames.jolt(frames)) == pytest.approx(0, abs=1e-6)
    assert float(key_frames.jolt(frames.round())) > 0.1


def test_deblurring_has_its_bounds_beside_it() -> None:
    (sharp,) = key_frames.sequences(1, 3, 32)
    given = deblur.unsharp(sharp, 1.0, 1)
    made = deblur.arms(sharp, given, PAIR, (0.0, 1.0), 1.0)
    assert list(made) == [deblur.UNSHARP, "pixels, 1", "codes, 0", "codes, 1", deblur.LIMIT]
    rows = {
        name: deblur.measured(images, sharp, PixelPyramid(), PAIR.grid.borders)
        for name, images in made.items()
    }
    assert rows["pixels, 1"]["PSNR (dB)"].mean > rows[deblur.UNSHARP]["PSNR (dB)"].mean
    assert rows["codes, 1"]["sharpness"].mean > rows["codes, 0"]["sharpness"].mean
    assert "seams (ratio)" in rows["codes, 0"]


def test_small_pictures_are_enlarged_before_they_are_inverted() -> None:
    (sharp,) = key_frames.sequences(1, 2, 32)
    given = deblur.unsharp(sharp, 0.0, 2)
    assert given.shape[-1] == 16
    made = deblur.arms(sharp, given, PAIR, (0.0,), 1.0)
    assert made[deblur.UNSHARP].shape == sharp.shape
