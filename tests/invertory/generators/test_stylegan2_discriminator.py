"""The discriminator: names, shapes, batch deviation, and resampling as in the official code."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from invertory.checkpoints.strict import ArchitectureError
from invertory.generators.stylegan2_discriminator import ScaledConv, StyleGAN2Discriminator
from invertory.generators.stylegan2_ops import downsample2x, fir_filter, halve

GOLDEN = Path(__file__).resolve().parents[3] / "../shared/data/golden/stylegan2_ada"


def make(**config: object) -> StyleGAN2Discriminator:
    sizes = {"img_resolution": 16, "channel_base": 128, "channel_max": 12} | config
    return StyleGAN2Discriminator(**sizes).initialise(torch.Generator().manual_seed(0))


def images(n: int = 4, size_px: int = 16) -> Tensor:
    return torch.randn(n, 3, size_px, size_px, generator=torch.Generator().manual_seed(1))


def test_parameters_have_nvidias_names() -> None:
    expected = {
        f"b{px}.{layer}.{part}"
        for px in (16, 8)
        for layer in ("conv0", "conv1", "skip")
        for part in ("weight", "bias")
        if (layer, part) != ("skip", "bias")
    }
    expected |= {"b16.fromrgb.weight", "b16.fromrgb.bias"}
    expected |= {
        f"b4.{layer}.{part}" for layer in ("conv", "fc", "out") for part in ("weight", "bias")
    }
    tensors = make().state_dict()
    assert set(tensors) == expected
    assert tensors["b16.fromrgb.weight"].shape == (8, 3, 1, 1)
    assert tensors["b16.conv1.weight"].shape == (12, 8, 3, 3)
    assert tensors["b4.conv.weight"].shape == (12, 13, 3, 3)  # the deviation is one more channel
    assert tensors["b4.fc.weight"].shape == (12, 12 * 16)


@pytest.mark.parametrize("light", [False, True])
def test_features_halve_down_to_4_px(light: bool) -> None:
    discriminator = make(light=light)
    maps = discriminator.features(images())
    assert [tuple(m.shape) for m in maps] == [(4, 12, 8, 8), (4, 12, 4, 4)]
    assert torch.equal(discriminator.judge(maps[-1]), discriminator(images()))


def test_loading_drops_filters_and_refuses_other_sizes() -> None:
    discriminator = make()
    tensors = discriminator.state_dict()
    official = tensors | {"b16.conv1.resample_filter": fir_filter()}
    loaded = StyleGAN2Discriminator.load(official, json.loads(json.dumps(discriminator.config)))
    assert torch.equal(loaded(images()), discriminator(images()))
    with pytest.raises(ArchitectureError, match="differs in"):
        StyleGAN2Discriminator.load(tensors, discriminator.config | {"channel_max": 8})
    with pytest.raises(ArchitectureError, match="lacks"):
        StyleGAN2Discriminator.load(tensors, discriminator.config | {"img_resolution": 32})


def test_equal_images_have_no_deviation() -> None:
    epilogue = make().b4
    same = torch.ones(4, 12, 4, 4)
    floor = torch.full((4, 1, 4, 4), 1e-8**0.5)  # what keeps the root's slope finite
    torch.testing.assert_close(epilogue._deviation(same), floor, rtol=1e-5, atol=0)
    spread = torch.stack([same[0] * k for k in (1.0, 3.0, 1.0, 3.0)])
    torch.testing.assert_close(epilogue._deviation(spread), torch.ones(4, 1, 4, 4))


def test_a_logit_depends_on_its_group_only() -> None:
    discriminator, x = make(mbstd_group_size=2), images(4)
    changed = x.clone()
    changed[3] = 0  # groups are (0, 2) and (1, 3)
    before, after = discriminator(x), discriminator(changed)
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]])
    assert not torch.isclose(after[1], before[1])


@pytest.mark.parametrize("num", [1, 3, 6])
def test_any_batch_is_judged(num: int) -> None:
    assert make()(images(num)).shape == (num,)


def test_without_deviation_a_batch_does_not_matter() -> None:
    discriminator, x = make(mbstd_num_channels=0), images(4)
    one_by_one = torch.cat([discriminator(one[None]) for one in x])
    torch.testing.assert_close(discriminator(x), one_by_one, rtol=1e-4, atol=1e-5)


def test_clamping_bounds_features() -> None:
    maps = make(conv_clamp=0.01).features(images())
    assert all(m[0].abs().max() < 1 for m in maps[:1])
    assert not torch.equal(maps[0], make().features(images())[0])


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected images \[N, 3, 16, 16\], got \[4, 3, 8, 8\]"):
        make()(images(size_px=8))
    with pytest.raises(ValueError, match="expected 3 channel numbers for 4 to 16 px"):
        make(channel_table=(8, 8))


def golden() -> dict[str, Tensor]:
    if not GOLDEN.is_dir():
        pytest.skip("../shared/data/golden/stylegan2_ada is absent: no official numbers to meet")
    with np.load(GOLDEN / "conv2d_resample.npz", allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def assert_near(found: Tensor, expected: Tensor) -> None:
    """As near as the golden files ask of operators."""
    limit = 1e-6 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=limit)


def test_convolutions_that_halve_meet_the_official_ones() -> None:
    # in float64: 100 and more lie on what is compared, whose float32 they round off
    ref = {name: tensor.double() for name, tensor in golden().items()}
    skip = conv2d(downsample2x(ref["x"], ref["filter"]), ref["w1"])
    assert_near(skip, ref["y6"])
    layer = ScaledConv(4, 5, 3).double()
    layer.weight.data = ref["w3"] / (layer.weight_gain * math.sqrt(2))
    layer.bias.data.fill_(100.0)  # far into the range where the leaky ReLU is the identity
    got = layer(ref["x"], taps=ref["filter"], stride=2) - 100 * math.sqrt(2)
    assert_near(got, ref["y5"])


@pytest.mark.parametrize("light", [False, True])
def test_second_derivatives_are_right(light: bool) -> None:
    discriminator = make(img_resolution=8, channel_max=4, light=light).double()
    x = images(2, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(discriminator, x)
    assert torch.autograd.gradgradcheck(discriminator, x)


def test_halving_is_the_mean_of_four() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert halve(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
