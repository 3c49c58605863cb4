"""The draws of an InvGAN training follow its inferred codes; the inputs of MMD."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.training.compute import Compute
from invertory.training.invgan.config import InvGANConfig
from invertory.training.invgan.prior import CodeMemory, learn_mapping
from invertory.training.invgan.trainer import InvGANTraining
from invertory.training.invgan.warm_start import WarmStart
from invertory.training.stylegan2.latent_prior import LatentPrior

STYLE = InvGANConfig(
    images=96,
    start_images=32,
    batch_size=8,
    held_out=8,
    channels=(8, 8, 8),
    discriminator_channels=(8, 8, 8),
    w_dim=8,
    mapping_layers=3,
    head_narrow=4,
    head_hidden=16,
)
DIGITS = replace(STYLE, backbone="dcgan", channels=(8, 8), discriminator_channels=(8, 8), grey=True)
CONFIGS = {"stylegan2": STYLE, "dcgan": DIGITS}
LED: dict[str, Any] = {"prior_images": 16.0, "mmd_memory": 12}


def make(config: InvGANConfig, warm_start: WarmStart | None = None) -> InvGANTraining:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    return InvGANTraining(images, config, Compute(), warm_start=warm_start)


def given() -> WarmStart:
    """A GAN whose w is near 0, where the last activation of its mapping is not linear."""
    rng = torch.Generator().manual_seed(3)
    sizes: dict[str, Any] = {"img_resolution": 16, "channel_table": [12, 8, 4]}
    mapping = {"z_dim": 6, "w_dim": 6, "num_layers": 2, "lr_multiplier": 1.0}
    generator = StyleGAN2(**sizes, **mapping).initialise(rng)
    discriminator = StyleGAN2Discriminator(**sizes, light=True).initialise(rng)
    return WarmStart(generator=generator, discriminator=discriminator)


def draws(training: InvGANTraining, num: int = 4_000) -> Tensor:
    generator = training.nets.generator
    z = torch.randn(num, generator.z_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return generator.mapping(z)


def assert_drawn_from(prior: LatentPrior, w: Tensor) -> None:
    deviation = prior.covariance.diagonal().sqrt()
    assert ((w.mean(0) - prior.mean).abs() < 0.1 * deviation + 1e-2).all()
    scale = float(deviation.max() ** 2)
    torch.testing.assert_close(torch.cov(w.T), prior.covariance, rtol=0.1, atol=0.1 * scale)


def test_a_memory_keeps_the_newest_codes_and_teaches_the_batch_alone() -> None:
    memory = CodeMemory(3, 2)
    first, second = torch.ones(2, 2, requires_grad=True), torch.full((2, 2), 2.0)
    assert torch.equal(memory.joined(first), first)
    assert torch.equal(memory.codes[:2], first)
    newer = second.clone().requires_grad_()
    both = memory.joined(newer)
    assert torch.equal(both, torch.cat([second, first]))
    both.sum().backward()
    assert newer.grad is not None and first.grad is None
    assert torch.equal(memory.codes, both[:3])
    other = CodeMemory(3, 2)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other.joined(first), memory.joined(first))


@pytest.mark.parametrize("backbone", ["stylegan2", "dcgan"])
def test_a_led_mapping_draws_the_codes_gaussian_after_every_step(backbone: str) -> None:
    training = make(replace(CONFIGS[backbone], **LED))
    for step in range(6):
        training.step(step)
    nets = training.nets
    assert_drawn_from(nets.prior, draws(training))
    with torch.no_grad():
        codes = nets.encoder(training._real(5))[:, 0]
    deviation = nets.prior.covariance.diagonal().sqrt()
    assert ((codes.mean(0) - nets.prior.mean).abs() < 3 * deviation + 0.1).all()


def test_a_warm_start_that_is_led_begins_with_the_draws_and_images_it_had() -> None:
    training = make(replace(STYLE, **LED), warm_start=given())
    nets, real = training.nets, training._real(0)
    before = draws(training)
    with torch.no_grad():
        had, shown = nets.prior.mean.clone(), nets.synthesise(nets.encoder(real)[:, 0])
        nets.end_start()
        now = nets.synthesise(nets.encoder(real)[:, 0])
    torch.testing.assert_close(now, shown, rtol=1e-3, atol=1e-3)  # w moved, and all with it
    assert not torch.equal(nets.prior.mean, had)
    assert_drawn_from(nets.prior, draws(training))
    torch.testing.assert_close(
        torch.cov(draws(training).T), torch.cov(before.T), rtol=0.2, atol=0.1
    )


def test_the_gaussian_of_a_trained_mapping_is_that_of_its_draws() -> None:
    training = make(STYLE, warm_start=given())
    prior = LatentPrior(6)
    learn_mapping(prior, training.nets.generator, torch.Generator().manual_seed(1))
    assert_drawn_from(prior, draws(training))


def test_only_a_full_stage_that_asks_is_led() -> None:
    for stage, settings, follows_prior in (
        ("full", LED, True),
        ("full", {}, False),
        ("naive", LED, False),
    ):
        config = replace(STYLE, stage=stage, **settings)
        assert config.follows_prior == follows_prior
        learns = [p.requires_grad for p in make(config).nets.generator.mapping.parameters()]
        assert learns == [not follows_prior] * len(learns)


def test_mmd_is_given_the_codes_of_before_and_as_many_draws() -> None:
    training = make(replace(STYLE, start_images=0, mmd_memory=12))
    numbers = []
    for step in range(3):
        made = training._pass(training._real(step), training.compute.rng(0, step))
        assert made.compared is not None
        latents, codes = made.compared
        assert torch.equal(codes[:8], made.real_look.w)
        assert latents.shape == codes.shape
        numbers.append(len(codes))
    assert numbers == [8, 16, 20]


def test_a_memory_or_a_half_life_below_nought_is_refused() -> None:
    for name in LED:
        with pytest.raises(ValueError, match="expected mmd_memory and prior_images of 0 or more"):
            InvGANConfig(**{name: -1})
