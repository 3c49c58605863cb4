"""Resampling and activation against numbers from the official operators."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invertory.generators.stylegan2_ops import (
    bias_lrelu,
    conv2d_up2x,
    fir_filter,
    upfirdn2d,
    upsample2x,
)

GOLDEN = Path(__file__).resolve().parents[3] / "../shared/data/golden/stylegan2_ada"


def read(name: str) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    if not GOLDEN.is_dir():
        pytest.skip("../shared/data/golden/stylegan2_ada is absent: no official numbers to meet")
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
        tensors = {key: torch.from_numpy(arrays[key]) for key in arrays.files}
    return json.loads((GOLDEN / f"{name}_cases.json").read_text()), tensors


def pair(value: int | list[int]) -> tuple[int, ...]:
    return (value, value) if isinstance(value, int) else tuple(value)


def assert_near(got: Tensor, expected: Tensor) -> None:
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-6 * expected.abs().max()


def test_upfirdn2d_in_all_its_cases() -> None:
    cases, ref = read("upfirdn2d")
    for case in (c for c in cases if c["fn"] == "upfirdn2d"):
        kwargs = case["kwargs"]
        taps = ref[f"filter_{case['filter']}"] if case["filter"] else torch.ones(1, 1)
        if kwargs.pop("flip_filter", False):
            taps = taps.flip(tuple(range(taps.ndim)))
        for key in {"up", "down"} & set(kwargs):
            kwargs[key] = pair(kwargs[key])
        if "padding" in kwargs:
            kwargs["padding"] = pair(kwargs["padding"]) * (2 if kwargs["padding"] == 1 else 1)
        assert_near(upfirdn2d(ref["x"], taps, **kwargs), ref[f"y{case['index']:02d}"])


@pytest.mark.parametrize(("filter_name", "index"), [("f1331", 17), ("f121", 18)])
def test_upsample2x(filter_name: str, index: int) -> None:
    _, ref = read("upfirdn2d")
    assert_near(upsample2x(ref["x"], ref[f"filter_{filter_name}"]), ref[f"y{index}"])


def test_convolution_that_doubles() -> None:
    cases, ref = read("conv2d_resample")
    for case in (c for c in cases if c["kwargs"].get("up") == 2):
        weight = ref[f"w{case['kernel']}"]
        if case["kwargs"].get("flip_weight", True):  # a correlation; ours is a convolution
            weight = weight.flip(2, 3)
        got = conv2d_up2x(ref["x"], weight, ref["filter"])
        assert_near(got, ref[f"y{case['index']}"])


def test_leaky_relu_with_gain_and_clamp() -> None:
    cases, ref = read("bias_act")
    for case in (c for c in cases if c["kwargs"]["act"] == "lrelu" and "alpha" not in c["kwargs"]):
        kwargs = {k: v for k, v in case["kwargs"].items() if k != "act"}
        assert_near(bias_lrelu(ref["x"], ref["b"], **kwargs), ref[f"y{case['index']}"])


def test_filter_keeps_a_constant_image() -> None:
    inside = upsample2x(torch.full((1, 2, 6, 6), 0.7), fir_filter())[:, :, 2:-2, 2:-2]
    torch.testing.assert_close(inside, torch.full((1, 2, 8, 8), 0.7))
