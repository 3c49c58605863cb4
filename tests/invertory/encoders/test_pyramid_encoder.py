"""The encoders of pSp, e4e and ReStyle: heads, names, starts, and checkpoints that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from invertory.checkpoints.strict import ArchitectureError
from invertory.encoders.pyramid import PyramidEncoder
from invertory.encoders.residual import ResidualEncoder
from invertory.networks import build
from invertory.training.optimiser import seeded

SMALL: dict[str, Any] = {
    "resolution": 16,
    "num_ws": 9,
    "w_dim": 6,
    "backbone": "small",
    "widths": (4, 4, 8, 8, 8),
    "style_width": 8,
}
IR_SE: dict[str, Any] = {
    "resolution": 32,
    "num_ws": 9,
    "w_dim": 6,
    "widths": (2, 4, 6, 8),
    "reduction": 2,
}


def made(config: dict[str, Any], **changes: Any) -> PyramidEncoder:
    encoder = seeded(lambda: PyramidEncoder(**config | changes), 0).eval().requires_grad_(False)
    encoder.set_statistics(torch.arange(6.0), torch.full((6,), 2.0))
    return encoder


def images(n: int, px: int = 16) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("config", [SMALL, IR_SE], ids=["small", "ir_se50"])
def test_offsets_are_let_in_one_by_one(config: dict[str, Any]) -> None:
    encoder, x = made(config), images(2)
    whole, none = encoder(x), encoder(x, num_deltas=0)
    torch.testing.assert_close(none, whole[:, :1].expand_as(whole))
    for num in (1, 4, 8):
        some = encoder(x, num_deltas=num)
        torch.testing.assert_close(some[:, : num + 1], whole[:, : num + 1], rtol=0, atol=1e-5)
        torch.testing.assert_close(some[:, num + 1 :], none[:, num + 1 :], rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, IR_SE], ids=["small", "ir_se50"])
def test_psp_has_the_same_heads_without_the_sum(config: dict[str, Any]) -> None:
    e4e, psp = made(config), made(config, heads="psp")
    x = images(2)
    apart = (psp(x) - psp.w_mean) / psp.w_scale
    summed = (e4e(x) - e4e.w_mean) / e4e.w_scale
    torch.testing.assert_close(summed[:, 0], apart[:, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(summed[:, 1:], apart[:, :1] + apart[:, 1:], rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, IR_SE], ids=["small", "ir_se50"])
def test_six_channels_see_the_average_image_first(config: dict[str, Any]) -> None:
    encoder = made(config, taps="coarsest", input_channels=6)
    average = images(1, 32)[0]
    encoder.set_average(average)
    expected = encoder.w_mean + encoder.residual(images(2), average.expand(2, -1, -1, -1))
    torch.testing.assert_close(encoder(images(2)), expected, rtol=0, atol=1e-5)
    other = encoder.residual(images(2), images(2))
    assert not torch.allclose(encoder.w_mean + other, expected)
    assert not any(name.startswith("latlayer") for name in encoder.state_dict())


def test_three_channels_have_no_residual() -> None:
    with pytest.raises(ValueError, match="expected an encoder with six input channels"):
        made(SMALL).residual(images(1), images(1))


@pytest.mark.parametrize("config", [SMALL, IR_SE], ids=["small", "ir_se50"])
@pytest.mark.parametrize("channels", [3, 6])
def test_a_code_does_not_depend_on_the_batch(config: dict[str, Any], channels: int) -> None:
    encoder, x = made(config, input_channels=channels), images(3)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]), rtol=0, atol=1e-5)
    again = build("pyramid_encoder", encoder.config, encoder.state_dict())
    assert torch.equal(again(x), encoder(x))


def test_published_tensors_fit_and_take_their_mean_latent() -> None:
    encoder = made(IR_SE)
    own = ("w_mean", "w_scale")
    tensors = {k: v for k, v in encoder.state_dict().items() if k not in own}
    mean = torch.randn(1, 6, generator=torch.Generator().manual_seed(2))
    found = PyramidEncoder.from_published(tensors, IR_SE, w_mean=mean)
    offsets = (encoder(images(2)) - encoder.w_mean) / 2
    torch.testing.assert_close(found(images(2)), mean + offsets, rtol=0, atol=1e-5)
    with pytest.raises(ArchitectureError, match="lacks average_picture"):
        PyramidEncoder.from_published(
            tensors, IR_SE | {"input_channels": 6, "taps": "coarsest"}, w_mean=mean
        )


def test_the_published_sizes_have_the_published_names() -> None:
    with torch.device("meta"):
        e4e = PyramidEncoder().state_dict()
        restyle = PyramidEncoder(heads="psp", taps="coarsest", input_channels=6).state_dict()
    assert e4e["input_layer.0.weight"].shape == (64, 3, 3, 3)
    assert e4e["body.21.shortcut_layer.0.weight"].shape == (512, 256, 1, 1)
    assert e4e["body.23.res_layer.5.fc1.weight"].shape == (32, 512, 1, 1)
    assert e4e["styles.17.convs.10.weight"].shape == (512, 512, 3, 3)
    assert e4e["latlayer2.weight"].shape == (512, 128, 1, 1)
    assert restyle["input_layer.0.weight"].shape == (64, 6, 3, 3)
    assert "styles.17.convs.8.weight" not in restyle


@pytest.mark.parametrize("channels", [3, 6])
def test_maps_can_start_from_another_encoder(channels: int) -> None:
    residual = seeded(
        lambda: ResidualEncoder(resolution=64, num_ws=9, w_dim=6, channels=(4, 4, 8, 8, 8)), 5
    )
    encoder = made(SMALL, resolution=64, input_channels=channels)
    before = encoder.w_mean.clone()
    encoder.adopt(residual.state_dict())
    x = images(1, 64)
    seen = x if channels == 3 else torch.cat([x, 1 - x], 1)
    expected = residual.eval().blocks[:4](residual.stem(x))
    limit = 2e-5 * float(expected.detach().abs().max())  # what float32 is held to
    torch.testing.assert_close(encoder.maps(seen)[2], expected, rtol=0, atol=limit)
    assert torch.equal(encoder.w_mean, before)


def test_a_start_that_fits_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="got no tensor that fits"):
        made(SMALL).adopt(
            {"stem.conv.weight": torch.zeros(2, 3, 3, 3), "w_mean": torch.zeros(9, 6)}
        )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"backbone": "vgg"}, "expected a backbone among"),
        ({"input_channels": 4}, "3 or 6 input channels"),
        ({"resolution": 8}, "at least 16 px"),
        ({"widths": (4, 8)}, "expected 5 widths for small"),
    ],
)
def test_settings_that_make_no_encoder_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        PyramidEncoder(**SMALL | changes)


def test_the_portraits_encoders_fit_into_their_share() -> None:
    sizes = {"resolution": 64, "num_ws": 10, "w_dim": 128, "backbone": "small"}
    with torch.device("meta"):
        for taps, channels in (("pyramid", 3), ("coarsest", 6)):
            encoder = PyramidEncoder(**sizes, taps=taps, input_channels=channels)  # type: ignore[arg-type]
            assert sum(2 * t.numel() for t in encoder.state_dict().values()) < 2.6e6


@pytest.mark.parametrize("taps", ["pyramid", "coarsest"])
def test_rows_beyond_the_heads_go_by_the_last(taps: str) -> None:
    encoder, x = made(SMALL, num_styles=4, pyramid_width=6, taps=taps), images(2)
    whole = encoder(x)
    assert whole.shape == (2, 9, 6)
    assert len(encoder.styles) == 4
    torch.testing.assert_close(whole[:, 4:], whole[:, 3:4].expand(-1, 5, -1))
    assert not torch.equal(whole[:, 2], whole[:, 3])
    some = encoder(x, num_deltas=6)
    torch.testing.assert_close(some[:, :7], whole[:, :7])
    torch.testing.assert_close(some[:, 7:], whole[:, :1].expand(-1, 2, -1))


def test_narrow_maps_cost_less_and_are_told() -> None:
    wide, narrow = made(SMALL), made(SMALL, pyramid_width=2)
    assert narrow.latlayer1.weight.shape == (2, 8, 1, 1)
    assert narrow.toplayer.weight.shape == (2, 8, 1, 1)
    sizes = [sum(t.numel() for t in encoder.state_dict().values()) for encoder in (wide, narrow)]
    assert sizes[1] < sizes[0]
    again = build("pyramid_encoder", narrow.config, narrow.state_dict())
    x = images(1)
    assert torch.equal(again(x), narrow(x))
