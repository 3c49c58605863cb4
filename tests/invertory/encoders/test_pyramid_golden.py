"""e4e's published encoder: ../shared/data/golden/e4e, from the official code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from invertory.encoders.pyramid import PyramidEncoder
from invertory.encoders.pyramid_layers import upsampled_sum

RELATIVE = 2e-5  # relative to the largest value
STAGES = {"WTraining": 0, "Delta1Training": 1, "Delta4Training": 4, "Delta8Training": 8}
WIDTHS: dict[str, Any] = {"w_dim": 16, "widths": (2, 4, 8, 16), "reduction": 2}  # theirs / 32


@pytest.fixture(scope="module")
def golden(shared: Callable[[str], Path]) -> Any:
    return np.load(shared("data/golden/e4e/encoder.npz"), allow_pickle=False)


@pytest.fixture(scope="module")
def encoder(shared: Callable[[str], Path]) -> PyramidEncoder:
    folder = shared("data/golden/e4e")
    config_json = json.loads((folder / "encoder.json").read_text())
    config = WIDTHS | {"num_ws": config_json["style_count"]}
    tensors = load_file(folder / "encoder.safetensors")
    return PyramidEncoder.from_published(tensors, config, w_mean=torch.zeros(1, WIDTHS["w_dim"]))


@pytest.fixture(scope="module")
def images(golden: Any) -> Tensor:
    x = torch.from_numpy(golden["x_uint8_64"]).float() / 127.5 - 1
    return x.repeat_interleave(4, 2).repeat_interleave(4, 3)


def assert_near(found: Tensor, expected: np.ndarray) -> None:
    limit = RELATIVE * float(np.abs(expected).max())
    torch.testing.assert_close(found, torch.from_numpy(expected), rtol=0, atol=limit)


@pytest.mark.parametrize("stage", STAGES)
def test_codes_of_a_stage_are_those_of_the_official_encoder(
    stage: str, encoder: PyramidEncoder, golden: Any, images: Tensor
) -> None:
    assert_near(encoder(images, num_deltas=STAGES[stage]), golden[f"codes/{stage}"])


def test_codes_and_maps_are_those_of_the_official_encoder(
    encoder: PyramidEncoder, golden: Any, images: Tensor
) -> None:
    assert_near(encoder(images), golden["codes/Inference"])
    for found, unit in zip(encoder.maps(images[:1]), (6, 20, 23), strict=True):
        assert_near(found, golden[f"body_{unit}"])


def test_maps_are_added_as_in_the_official_pyramid(golden: Any) -> None:
    x, y = (torch.from_numpy(golden[f"upsample_add/{name}"]) for name in "xy")
    assert_near(upsampled_sum(x, y), golden["upsample_add/out"])
