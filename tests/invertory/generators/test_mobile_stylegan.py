"""MobileStyleGAN: compared with OpenVINO if the weights are available, otherwise by properties."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, leaky_relu

from invertory.checkpoints.strict import ArchitectureError
from invertory.generators.mobile_layers import first_channels, inverse_haar, is_channels_last
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import heads_from, untrained_head
from invertory.generators.stylegan2_layers import Hooks

HEAD = Path(__file__).resolve().parents[3] / "resources/bundled/mobile_stylegan_preview.safetensors"


def run_openvino(folder: Path, name: str, rows: Tensor) -> Tensor:
    """Run the original graph on each row [1, 512] in turn, in float32."""
    openvino = pytest.importorskip("openvino")
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(folder / f"{name}.xml"), "CPU", hints)
    outputs = [next(iter(model([row[None].numpy()]).values())) for row in rows]
    return torch.from_numpy(np.concatenate(outputs))


def draw_w(generator: MobileStyleGAN, n: int) -> Tensor:
    rng = torch.Generator().manual_seed(11)
    return generator.mapping(torch.randn(n, generator.z_dim, generator=rng))


@pytest.fixture(scope="module")
def small() -> MobileStyleGAN:
    """32 px, random weights."""
    generator = MobileStyleGAN(channels=(16, 16, 8), w_dim=12, mapping_layers=2)
    rng = torch.Generator().manual_seed(0)
    for tensor in generator.state_dict().values():
        tensor.copy_(0.5 * torch.randn(tensor.shape, generator=rng))
    return generator


def latents(generator: MobileStyleGAN, n: int = 1) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(n, generator.num_ws, generator.w_dim, generator=rng)


@pytest.mark.download
def test_mapping_equals_openvino(mobile: MobileStyleGAN, random_face: Path) -> None:
    z = torch.randn(4, 512, generator=torch.Generator().manual_seed(1))
    expected = run_openvino(random_face, "MappingNetwork", z)
    assert (mobile.mapping(z) - expected).abs().max() < 1e-4


@pytest.mark.download
def test_image_equals_openvino(mobile: MobileStyleGAN, random_face: Path) -> None:
    w = torch.cat([mobile.w_avg[None], draw_w(mobile, 1)])
    expected = run_openvino(random_face, "SynthesisNetwork", w)
    with torch.no_grad():
        error = (mobile.synthesis(w[:, None].expand(-1, 23, -1)) - expected).abs()
    # at single pixels OpenVINO differs by up to 1e-4 from a float64 run, torch by up to 3e-5
    assert error.max() < 2e-4
    assert error.mean() < 2e-6


@pytest.mark.download
def test_w_avg_is_the_centre_of_w(mobile: MobileStyleGAN) -> None:
    rng = torch.Generator().manual_seed(99)  # a seed other than the conversion's
    mean = mobile.mapping(torch.randn(10_000, 512, generator=rng)).mean(0)
    assert torch.cosine_similarity(mobile.w_avg, mean, dim=0) > 0.99


@pytest.mark.download
def test_bundled_heads_look_like_the_image(mobile: MobileStyleGAN) -> None:
    w_plus = draw_w(mobile, 1)[:, None].expand(-1, 23, -1)
    generator = MobileStyleGAN.load(mobile.state_dict(), mobile.config)
    generator.attach_preview(*heads_from(load_file(HEAD)))
    assert generator.preview_resolution == 128
    with torch.no_grad():
        image = generator.synthesis(w_plus)
        for px, least_db in ((64, 26), (128, 28)):
            error = generator.preview_at(w_plus, px) - avg_pool2d(image, 1024 // px)
            assert 10 * torch.log10(4 / error.square().mean()) > least_db


def test_inverse_haar_of_one_coefficient() -> None:
    signs = {
        0: [[1, 1], [1, 1]],
        1: [[1, 1], [-1, -1]],
        2: [[1, -1], [1, -1]],
        3: [[1, -1], [-1, 1]],
    }
    for band, pattern in signs.items():
        x = torch.zeros(1, 4, 1, 1)
        x[0, band] = 2
        assert inverse_haar(x)[0, 0].tolist() == pattern


def test_inverse_haar_keeps_energy_and_the_low_band_is_the_mean() -> None:
    x = torch.randn(2, 12, 5, 5, generator=torch.Generator().manual_seed(0))
    y = inverse_haar(x)
    torch.testing.assert_close(y.square().sum(), x.square().sum())
    torch.testing.assert_close(avg_pool2d(y, 2), x[:, :3] / 2)


@pytest.mark.parametrize(
    ("row", "unchanged"),
    [(0, ()), (1, ("b4",)), (3, ("b4",)), (4, ("b4", "b8")), (7, ("b4", "b8", "b16"))],
)
def test_a_row_reaches_its_own_layers(
    small: MobileStyleGAN, row: int, unchanged: tuple[str, ...]
) -> None:
    w_plus = latents(small)
    moved = w_plus.clone()
    moved[:, row] += 1
    before = small.features(w_plus, small.feature_names)
    after = small.features(moved, small.feature_names)
    same = tuple(name for name in small.feature_names if torch.equal(before[name], after[name]))
    assert same == unchanged
    assert not torch.allclose(small.synthesis(w_plus), small.synthesis(moved))


def test_features_stop_at_the_last_one_named(small: MobileStyleGAN) -> None:
    assert tuple(small.features(latents(small), ("b8",))) == ("b8",)


def test_without_a_head_the_preview_is_the_image(small: MobileStyleGAN) -> None:
    assert small.preview_resolution == small.resolution == 32
    assert torch.equal(small.preview(latents(small)), small.synthesis(latents(small)))


def test_preview_is_exact_where_its_assumptions_hold(small: MobileStyleGAN) -> None:
    """With zero detail bands, one-tap kernels and positive activations, a head loses nothing."""
    generator = MobileStyleGAN.load(small.state_dict(), small.config)
    for _, block in generator.blocks_above(8):
        block.up.weight.zero_()
        block.up.bias.fill_(1)
        block.up.bias[4:] = 0  # the first four of 16 channels are the low band
        for conv in (block.conv1, block.conv2):
            conv.depthwise.zero_()
            conv.depthwise[:, :, 1, 1] = 1
            conv.noise.zero_()
            conv.bias.fill_(50)
    generator.attach_preview(untrained_head(generator, 8))
    w_plus = latents(generator, 2)
    expected = avg_pool2d(generator.synthesis(w_plus), 4)
    torch.testing.assert_close(generator.preview(w_plus), expected, rtol=1e-4, atol=1e-3)


def test_heads_survive_a_file(small: MobileStyleGAN) -> None:
    generator = MobileStyleGAN.load(small.state_dict(), small.config)
    heads = [untrained_head(generator, px) for px in (4, 8)]
    generator.attach_preview(*heads)
    again = heads_from({f"{h.resolution}.{n}": t for h in heads for n, t in h.state_dict().items()})
    assert [h.config for h in again] == [h.config for h in heads]
    assert generator.preview_resolution == 8
    assert generator.preview_at(latents(generator), 4).shape == (1, 3, 4, 4)


def test_a_head_of_other_widths_is_refused(small: MobileStyleGAN) -> None:
    other = MobileStyleGAN(channels=(16, 32, 8), w_dim=12, mapping_layers=2)
    with pytest.raises(ValueError, match="expected a head of widths"):
        small.attach_preview(untrained_head(other, 8))


def test_a_resolution_without_head_is_refused(small: MobileStyleGAN) -> None:
    with pytest.raises(ValueError, match="attach a head for it"):
        small.preview_at(latents(small), 16)


@pytest.mark.parametrize("config", [{"channels": (16, 16, 8), "w_dim": 13, "mapping_layers": 2}])
def test_tensors_of_other_sizes_are_refused(small: MobileStyleGAN, config: dict[str, Any]) -> None:
    with pytest.raises(ArchitectureError, match=r"expected \[4, 13\], got \[4, 12\]"):
        MobileStyleGAN.load(small.state_dict(), config)


def test_a_hook_after_a_convolution_sees_every_level_with_its_w(small: MobileStyleGAN) -> None:
    seen: dict[str, tuple[list[int], Tensor]] = {}

    def noting(name: str) -> Callable[[Tensor, Tensor], Tensor]:
        def note(x: Tensor, w: Tensor) -> Tensor:
            seen[name] = (list(x.shape), w)
            return x

        return note

    names = ("b4.conv1", *(f"b{px}.conv{k}" for px in (8, 16) for k in range(2)))
    w_plus = latents(small, 2)
    hooks = Hooks(after_conv={name: noting(name) for name in names})
    made = small.synthesis(w_plus, hooks=hooks)
    assert tuple(seen) == names
    rows = dict(zip(names, (0, 2, 3, 5, 6), strict=True))
    for name, (shape, w) in seen.items():
        channels, px = small.feature_shapes[name.split(".")[0]]
        assert shape == [2, channels, px, px]
        assert torch.equal(w, w_plus[:, rows[name]])
    # a hook that changes nothing differs only in when the bias is added
    torch.testing.assert_close(made, small.synthesis(w_plus), rtol=1e-4, atol=1e-4)


def test_a_hook_after_a_convolution_comes_before_noise_bias_and_activation(
    small: MobileStyleGAN,
) -> None:
    hooks = Hooks(after_conv={"b16.conv1": lambda x, _: torch.zeros_like(x)})
    found = small.features(latents(small), ("b16",), hooks)["b16"]
    conv = small.blocks[1].conv2
    expected = leaky_relu(conv.bias[:, None, None] + conv.noise, 0.2)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_hooks_reach_a_preview_and_leave_what_they_gave_back(small: MobileStyleGAN) -> None:
    generator = MobileStyleGAN.load(small.state_dict(), small.config)
    generator.attach_preview(untrained_head(generator, 8))
    kept = torch.ones(1, 16, 8, 8)
    hooks = Hooks(after_conv={"b8.conv0": lambda x, _: kept})
    w_plus = latents(generator)
    moved = generator.preview(w_plus, 8, hooks=hooks)
    assert not torch.allclose(moved, generator.preview(w_plus, 8))
    assert torch.equal(kept, torch.ones(1, 16, 8, 8))  # the hook's tensor is not overwritten


def test_layouts_agree_and_gradients_keep_theirs() -> None:
    x = torch.randn(2, 16, 4, 6, generator=torch.Generator().manual_seed(3))
    last = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    assert torch.equal(inverse_haar(last), inverse_haar(x))
    assert torch.equal(first_channels(last, 3), first_channels(x, 3))
    for made in (inverse_haar(last), first_channels(last, 3)):
        assert made.is_contiguous(memory_format=torch.channels_last) or made.shape[1] == 3
        (slope,) = torch.autograd.grad(made.square().sum(), last)
        assert is_channels_last(slope)
