"""InvGAN's stage "afterwards": an encoder for a frozen generator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.training.compute import Compute
from invertory.training.invgan.config import InvGANConfig
from invertory.training.invgan.trainer import InvGANTraining
from invertory.training.invgan.warm_start import WarmStart
from invertory.training.loop.train import train

CONFIG = InvGANConfig(
    stage="afterwards",
    images=64,
    start_images=16,
    batch_size=8,
    held_out=8,
    head_narrow=4,
    head_hidden=16,
    r1_every=2,
)
EVERY = {"log_every": 16, "checkpoint_every": 16, "evaluate_every": 32}


class StoppedError(Exception):
    """A training after some steps."""


def start() -> WarmStart:
    rng = torch.Generator().manual_seed(3)
    sizes: dict[str, Any] = {"img_resolution": 16, "channel_table": [8, 8, 4]}
    small: dict[str, Any] = {"z_dim": 6, "w_dim": 6, "num_layers": 2, "lr_multiplier": 1.0}
    generator = StyleGAN2(**sizes, **small).initialise(rng)
    generator.mapping.w_avg.fill_(0.5)
    discriminator = StyleGAN2Discriminator(**sizes, light=True).initialise(rng)
    return WarmStart(generator=generator, discriminator=discriminator)


def begun(given: WarmStart | None = None, **changes: Any) -> InvGANTraining:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), np.uint8)
    config = replace(CONFIG, **changes)
    return InvGANTraining(images, config, Compute(), warm_start=given or start())


def tensors(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_generator_and_mapping_stay_as_they_were_bit_for_bit() -> None:
    given = start()
    training, before = begun(given), tensors(given.generator)
    for step in range(5):  # the head start's two and three more
        training.step(step)
    for generator in (given.generator, training.nets.generator, training.nets.average):
        after = generator.state_dict()
        assert after.keys() == before.keys()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    kept = training.networks()["generator"].state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in before.items())


def test_the_generator_has_no_gradient_and_no_place_in_the_optimiser() -> None:
    training = begun()
    for step in range(4):
        training.step(step)
    assert all(p.grad is None for p in training.nets.generator.parameters())
    own = {id(p) for p in training.nets.encoder.parameters()}
    grouped = [p for group in training.optimiser.param_groups for p in group["params"]]
    assert {id(p) for p in grouped} == own
    assert {id(p) for p in training.optimiser.state} <= own


def test_all_of_the_encoder_learns_in_both_phases() -> None:
    training = begun()
    for first, last in ((0, 2), (2, 4)):
        before = tensors(training.nets.encoder)
        for step in range(first, last):
            training.step(step)
        after = training.nets.encoder.state_dict()
        is_moved = {name: not torch.equal(after[name], tensor) for name, tensor in before.items()}
        parameters = dict(training.nets.encoder.named_parameters())
        assert all(is_moved[name] for name in parameters)


def test_its_terms_are_fulls_without_the_adversary_of_g_and_mmd() -> None:
    found = {}
    for stage in ("full", "afterwards"):
        training = begun(stage=stage, start_images=0)
        found[stage] = set(training.step(1))
    left_out = {"generator", "latent_made", "mmd"}
    assert found["afterwards"] == found["full"] - left_out
    assert left_out < found["full"]


@pytest.mark.parametrize("term", ["cycle", "features", "pixels", "latent"])
def test_every_reconstruction_term_reaches_the_latent_head(term: str) -> None:
    training = begun(start_images=0)
    with torch.no_grad():  # fresh codes hardly differ from image to image
        training.nets.encoder.head.code.weight.mul_(100)
    losses, _ = training._joint_step(training._real(0), 1, training.compute.rng(0, 0))
    (slope,) = torch.autograd.grad(losses[term], training.nets.encoder.head.code.weight)
    assert slope.norm() > 0


def test_it_goes_on_after_a_stop_to_the_same_weights(tmp_path: Path) -> None:
    undisturbed = begun()
    train(undisturbed, tmp_path / "a", images=64, **EVERY)

    def stop(seen: int, total: int, values: Any) -> None:
        if seen >= 48:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(begun(), tmp_path / "b", images=64, progress=stop, **EVERY)
    resumed = begun()
    train(resumed, tmp_path / "b", images=64, **EVERY)
    for name, network in undisturbed.networks().items():
        got = resumed.networks()[name].state_dict()
        assert all(torch.equal(got[key], t) for key, t in network.state_dict().items())


def test_a_generator_must_be_given() -> None:
    images = np.zeros((40, 16, 16, 3), np.uint8)
    with pytest.raises(ValueError, match="expected a generator and its discriminator for stage"):
        InvGANTraining(images, CONFIG, Compute())
