"""Encoders: shapes, gradients, independence of the batch, and checkpoints that do not fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invertory.checkpoints.strict import ArchitectureError
from invertory.encoders import ENCODERS, Encoder
from invertory.encoders.residual import ResidualEncoder
from invertory.networks import build
from invertory.training.optimiser import seeded

CONFIGS: dict[str, dict[str, Any]] = {
    "residual_encoder": {
        "resolution": 16,
        "num_ws": 5,
        "w_dim": 6,
        "channels": [4, 8, 8],
        "narrow": 4,
        "hidden": 8,
    },
    "idinvert_encoder": {
        "resolution": 16,
        "num_ws": 5,
        "w_dim": 6,
        "channels_base": 4,
        "channels_max": 8,
    },
    "invgan_encoder": {
        "backbone": "dcgan",
        "discriminator": {"resolution": 16, "img_channels": 3, "channels": [8, 6]},
        "w_dim": 6,
        "narrow": 4,
        "hidden": 8,
    },
    "pyramid_encoder": {
        "resolution": 16,
        "num_ws": 5,
        "w_dim": 6,
        "backbone": "small",
        "widths": [4, 4, 8, 8, 8],
        "style_width": 8,
    },
}


def made(name: str) -> Any:
    """An encoder with random weights, frozen, in eval."""
    return seeded(lambda: ENCODERS[name](**CONFIGS[name]), 0).eval().requires_grad_(False)


def images(n: int, px: int = 16) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.mark.parametrize("name", ENCODERS)
def test_images_of_any_size_give_codes(name: str) -> None:
    encoder = made(name)
    assert isinstance(encoder, Encoder)
    for px in (8, 16, 40):
        code = encoder(images(2, px))
        assert code.shape == (2, 1 if name == "invgan_encoder" else 5, 6)
        assert code.dtype == torch.float32


@pytest.mark.parametrize("name", ENCODERS)
def test_finer_images_are_seen_by_their_area_means(name: str) -> None:
    coarse = images(2)
    fine = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(made(name)(fine), made(name)(coarse), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_a_code_does_not_depend_on_the_batch(name: str) -> None:
    encoder, x = made(name), images(3)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_gradients_reach_the_images(name: str) -> None:
    x = images(1).requires_grad_(True)
    (gradient,) = torch.autograd.grad(made(name)(x).square().sum(), x)
    assert torch.isfinite(gradient).all()
    assert (gradient != 0).float().mean() > 0.5


@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_is_had_again_from_its_tensors_and_its_config(name: str) -> None:
    encoder = made(name)
    again = build(name, encoder.config, encoder.state_dict())
    assert torch.equal(again(images(2)), encoder(images(2)))
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize("name", ENCODERS)
def test_a_checkpoint_of_another_width_is_refused(name: str) -> None:
    tensors = made(name).state_dict()
    with pytest.raises(ArchitectureError, match=r"expected .* got a checkpoint that differs in"):
        ENCODERS[name].load(tensors, CONFIGS[name] | {"w_dim": 7})


@pytest.mark.parametrize("name", ENCODERS)
def test_images_that_are_not_square_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="align them first"):
        made(name)(torch.zeros(1, 3, 8, 16))


def test_channels_that_do_not_reach_4_px_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 channels for 16 px"):
        ResidualEncoder(resolution=16, num_ws=1, w_dim=4, channels=(4, 8))


def test_resolutions_that_cannot_be_halved_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a resolution of 8"):
        ResidualEncoder(resolution=24, num_ws=1, w_dim=4)


def test_an_encoder_without_truncation_says_the_mean_latent() -> None:
    w_plus = torch.randn(50, 5, 6, generator=torch.Generator().manual_seed(2))
    encoder = ResidualEncoder(**CONFIGS["residual_encoder"], truncation=0.0)
    encoder.set_statistics(w_plus)
    torch.testing.assert_close(encoder.eval()(images(2)), w_plus.mean(0).expand(2, -1, -1))


def test_truncation_halves_the_offsets_from_the_mean() -> None:
    whole = made("residual_encoder")
    half = ResidualEncoder.load(whole.state_dict(), whole.config | {"truncation": 0.5})
    torch.testing.assert_close(half(images(2)), whole(images(2)) / 2)


def test_a_widened_encoder_says_its_one_w_in_every_row() -> None:
    one = seeded(lambda: ResidualEncoder(**CONFIGS["residual_encoder"] | {"num_ws": 1}), 3).eval()
    one.set_statistics(torch.randn(9, 1, 6, generator=torch.Generator().manual_seed(4)))
    wide = one.widen(5)
    expected = one(images(2)).expand(-1, 5, -1)
    torch.testing.assert_close(wide(images(2)), expected, rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="got one of 5"):
        wide.widen(2)


def test_the_faces_encoder_fits_into_12_megabytes_of_halves() -> None:
    with torch.device("meta"):
        encoder: nn.Module = ResidualEncoder(resolution=128, num_ws=23, w_dim=512)
    num_bytes = sum(2 * t.numel() for t in encoder.state_dict().values())
    assert num_bytes < 12e6
