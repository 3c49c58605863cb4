"""InvGAN's encoder, on each of its three discriminators."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from invertory.encoders import Encoder
from invertory.encoders.invgan import BACKBONES, InvGANEncoder
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator

SIZES: dict[str, dict[str, Any]] = {
    "biggan": {"resolution": 16, "channels": (8, 6)},
    "dcgan": {"resolution": 16, "channels": (8, 6)},
    "stylegan2": {"img_resolution": 16, "channel_table": (8, 8, 6)},
}


def build(backbone: str) -> InvGANEncoder:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        encoder = InvGANEncoder(
            backbone=backbone, discriminator=SIZES[backbone], w_dim=5, narrow=4, hidden=8
        )
        for name, parameter in encoder.named_parameters():
            if name.startswith("discriminator.b"):
                parameter.data = torch.randn_like(parameter)
    return encoder.eval().requires_grad_(False)


def images(n: int, px: int = 16) -> torch.Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_every_backbone_is_tested_here() -> None:
    assert SIZES.keys() == BACKBONES.keys()


@pytest.mark.parametrize("backbone", BACKBONES)
def test_it_says_one_w_and_realness(backbone: str) -> None:
    encoder, x = build(backbone), images(3)
    assert isinstance(encoder, Encoder)
    assert encoder(x).shape == (3, 1, 5)
    look = encoder.discriminate(x)
    torch.testing.assert_close(look.w, encoder(x)[:, 0])
    torch.testing.assert_close(look.logits, encoder.realness(x))
    assert look.logits.shape == (3,)
    assert look.maps[-1].shape[2:] == (4, 4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_code_does_not_depend_on_its_batch(backbone: str) -> None:
    encoder, x = build(backbone), images(4)
    singly = torch.cat([encoder(one) for one in x[:, None]])
    torch.testing.assert_close(encoder(x), singly, rtol=1e-5, atol=1e-5)
    assert torch.equal(encoder(x), encoder(x))  # spectral norm stores nothing in eval


@pytest.mark.parametrize("backbone", BACKBONES)
def test_state_and_config_rebuild_it(backbone: str) -> None:
    encoder, x = build(backbone), images(2)
    config = json.loads(json.dumps(encoder.config))
    twin = InvGANEncoder.load(encoder.state_dict(), config)
    assert torch.equal(twin(x), encoder(x))
    assert not any(p.requires_grad for p in twin.parameters())


def test_larger_images_are_brought_to_its_size_and_gradients_reach_them() -> None:
    encoder = build("stylegan2")
    x = images(2, px=32).requires_grad_()
    encoder(x).square().sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_a_plain_discriminators_weights_load_as_before() -> None:
    plain = build("stylegan2").discriminator
    assert isinstance(plain, StyleGAN2Discriminator)
    again = StyleGAN2Discriminator.load(plain.state_dict(), plain.config)
    assert torch.equal(again(images(2)), plain(images(2)))


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a backbone among"):
        InvGANEncoder(backbone="vgg", discriminator={}, w_dim=4)
    with pytest.raises(ValueError, match="expected 2 channel numbers for 4 to 8 px"):
        InvGANEncoder(backbone="dcgan", discriminator={"resolution": 16}, w_dim=4)
    with pytest.raises(ValueError, match=r"expected images \[N, 3, 16, 16\]"):
        build("biggan").discriminate(images(1, px=8))
