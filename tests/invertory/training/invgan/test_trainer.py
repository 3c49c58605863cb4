"""The InvGAN trainer on blobs of 16 px: stages, initial phase, and resumption."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import invertory
from invertory.encoders import Encoder
from invertory.generators import Generator
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.images import Pixels
from invertory.networks import NETWORKS
from invertory.training.compute import Compute
from invertory.training.invgan.config import InvGANConfig
from invertory.training.invgan.trainer import InvGANTraining, patches
from invertory.training.invgan.warm_start import WarmStart
from invertory.training.loop.train import NonFiniteError, train

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
    r1_every=2,
)
BIG = replace(STYLE, backbone="biggan", discriminator_channels=(8, 8), start_images=0, flips=True)
DIGITS = replace(STYLE, backbone="dcgan", channels=(8, 8), discriminator_channels=(8, 8), grey=True)
CONFIGS = {"stylegan2": STYLE, "biggan": BIG, "dcgan": DIGITS}


def blobs(num: int = 40, size_px: int = 16) -> Pixels:
    """Discs of random position, size and grey level on grey."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size_px, :size_px]
    images = np.full((num, size_px, size_px, 3), 120, np.uint8)
    for image in images:
        row, column, radius = rng.uniform((4, 4, 2), (12, 12, 6))
        image[(y - row) ** 2 + (x - column) ** 2 < radius**2] = rng.integers(0, 256)
    return images


def make(
    config: InvGANConfig, precision: str = "float32", warm_start: WarmStart | None = None
) -> InvGANTraining:
    compute = Compute(precision=precision)  # type: ignore[arg-type]
    return InvGANTraining(blobs(), config, compute, warm_start=warm_start)


def given(size_px: int = 16, **changes: Any) -> WarmStart:
    """A GAN with other sizes than `STYLE`, and its own mean w and noise."""
    rng = torch.Generator().manual_seed(3)
    channels = [12, 8, 4, 4][: size_px.bit_length() - 2]
    sizes: dict[str, Any] = {"img_resolution": size_px, "channel_table": channels}
    small = {"z_dim": 6, "w_dim": 6, "num_layers": 1, "lr_multiplier": 1.0} | changes
    generator = StyleGAN2(**sizes, **small).initialise(rng)
    generator.mapping.w_avg.fill_(0.5)
    for name, parameter in generator.named_parameters():
        if name.endswith("noise_strength"):
            parameter.fill_(0.3)
    discriminator = StyleGAN2Discriminator(**sizes, light=True).initialise(rng)
    return WarmStart(generator=generator, discriminator=discriminator)


def begun(name: str) -> InvGANTraining:
    led = replace(STYLE, prior_images=16, mmd_memory=12)
    return make(led, "bfloat16", given()) if name == "warm" else make(CONFIGS[name], "bfloat16")


def tensors(training: InvGANTraining) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor
        for name, network in training.networks().items()
        for key, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize("case", [*CONFIGS, "warm"])
def test_a_killed_training_reaches_the_same_weights(tmp_path: Path, case: str) -> None:
    every = {"log_every": 24, "checkpoint_every": 24, "evaluate_every": 96}
    undisturbed = begun(case)
    train(undisturbed, tmp_path / "a", images=96, **every)
    program = (
        f"import os, signal, sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        f"import torch; torch.set_num_threads({torch.get_num_threads()})\n"
        "from pathlib import Path\n"
        f"from {Path(__file__).stem} import begun\n"
        f"from {train.__module__} import train\n"
        "def kill(seen, total, values):\n"
        "    seen >= 72 and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"train(begun({case!r}), Path({str(tmp_path / 'b')!r}), images=96,\n"
        "      progress=kill, log_every=24, checkpoint_every=24, evaluate_every=96)"
    )
    root = Path(invertory.__file__).resolve().parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(root)}, cwd=root
    )
    assert killed.returncode == -signal.SIGKILL
    resumed = begun(case)
    train(resumed, tmp_path / "b", images=96, **every)
    got = tensors(resumed)
    assert all(torch.equal(got[name], tensor) for name, tensor in tensors(undisturbed).items())


def test_every_stage_has_its_terms() -> None:
    config = replace(STYLE, start_images=8)
    always = {"generator", "discriminator", "latent", "sign_real"}
    joint = {"latent_made", "cycle", "features", "pixels", "mmd"}
    found = {}
    for stage in ("naive", "augmented", "full"):
        training = make(replace(config, stage=stage))
        assert set(training.step(0)) == {"start_pixels", "codes"}
        found[stage] = [set(training.step(step)) for step in (1, 2)]
    assert found["naive"] == found["augmented"] == [always, always | {"r1"}]
    assert found["full"] == [always | joint, always | joint | {"r1"}]


def test_the_generator_sees_codes_of_real_images_where_the_stage_says() -> None:
    numbers = {}
    for stage in ("naive", "augmented", "full"):
        training = make(replace(STYLE, stage=stage, start_images=0))
        made = training._pass(training._real(0), training.compute.rng(0, 0))
        numbers[stage] = made.num_inferred
        assert torch.equal(made.w[: made.num_inferred], made.real_look.w[: made.num_inferred])
        assert torch.equal(made.w[made.num_inferred :], made.prior[made.num_inferred :])
    assert numbers == {"naive": 0, "augmented": 4, "full": 4}


@pytest.mark.parametrize("backbone", CONFIGS)
def test_the_generators_losses_reach_the_encoder_in_the_full_stage_alone(backbone: str) -> None:
    config = replace(CONFIGS[backbone], start_images=0)
    for stage in ("naive", "augmented", "full"):
        training = make(replace(config, stage=stage))
        losses, _ = training._joint_step(training._real(0), 1, training.compute.rng(0, 0))
        own = {"discriminator", "latent"}
        made = torch.stack([loss for name, loss in losses.items() if name not in own]).sum()
        nets = training.nets
        weight = nets.encoder.head.code.weight
        (slope,) = torch.autograd.grad(made, weight, retain_graph=True, allow_unused=True)
        assert (slope is not None and bool(slope.norm() > 0)) == (stage == "full")
        synth_look = torch.stack([losses[name] for name in own]).sum()
        for network in (nets.generator,):
            given = torch.autograd.grad(
                synth_look,
                [p for p in network.parameters() if p.requires_grad],
                allow_unused=True,
                retain_graph=True,
            )
            assert all(one is None for one in given)  # D's losses teach D alone


def test_the_mapping_learns_of_the_codes_by_mmd() -> None:
    training = make(replace(STYLE, start_images=0))
    losses, _ = training._joint_step(training._real(0), 1, training.compute.rng(0, 0))
    weight = training.nets.generator.mapping.get_submodule("fc0").weight
    (slope,) = torch.autograd.grad(losses["mmd"], weight)
    assert slope.norm() > 0


@pytest.mark.parametrize("backbone", ["stylegan2", "dcgan"])
def test_after_the_start_the_mapping_draws_the_codes_gaussian(backbone: str) -> None:
    training = make(CONFIGS[backbone])
    for step in range(4):
        training.step(step)
    nets, real = training.nets, training._real(9)
    nets.generator.eval(), nets.encoder.eval()
    with torch.no_grad():
        before = nets.synthesise(nets.encoder(real)[:, 0])
        nets.end_start()
        codes = nets.encoder(real)[:, 0]
        torch.testing.assert_close(nets.synthesise(codes), before, rtol=1e-3, atol=1e-3)
        z = torch.randn(4_000, 8, generator=torch.Generator().manual_seed(0))
        w = nets.generator.mapping(z)
        mean = nets.generator.w_avg
    deviation = nets.prior.covariance.diagonal().sqrt()
    assert ((w.mean(0) - mean).abs() < 0.1 * deviation).all()
    torch.testing.assert_close(
        torch.cov(w.T), nets.prior.covariance, rtol=0.1, atol=0.1 * float(deviation.max() ** 2)
    )


@pytest.mark.parametrize("backbone", CONFIGS)
def test_what_is_kept_loads_and_fits_together(tmp_path: Path, backbone: str) -> None:
    training = make(CONFIGS[backbone])
    train(training, tmp_path, images=48)
    kept: dict[str, Any] = {}
    for name, network in training.networks().items():
        architecture = next(cls for cls in NETWORKS.values() if cls is type(network))
        file = load_file(tmp_path / f"{name}.safetensors")
        kept[name] = architecture.load(file, network.config)
    generator, encoder = kept["generator"], kept["invgan"]
    assert isinstance(generator, Generator) and isinstance(encoder, Encoder)
    held_out = torch.from_numpy(blobs()[32:]).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    w = encoder(held_out)
    assert w.shape == (8, 1, 8)
    assert generator.synthesis(w.expand(-1, generator.num_ws, -1)).shape == (8, 3, 16, 16)
    assert training.sheet().shape == (3, 5 * 16, 12 * 16)


def test_a_warm_start_draws_and_judges_as_the_networks_given() -> None:
    start = given()
    nets = make(STYLE, warm_start=start).nets
    z = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        w_plus = start.generator.mapping(z)[:, None].expand(-1, start.generator.num_ws, -1)
        drawn = start.generator.synthesis(w_plus)
        for generator in (nets.generator, nets.average):
            assert torch.equal(generator.mapping(z), w_plus[:, 0])
            # another memory layout, another order of sums: within float32's 2e-5 of the largest
            limit = 2e-5 * float(drawn.abs().max())
            torch.testing.assert_close(generator.synthesis(w_plus), drawn, rtol=0, atol=limit)
            kept = generator.state_dict()
            assert all(torch.equal(kept[k], t) for k, t in start.generator.state_dict().items())
        torch.testing.assert_close(nets.encoder.realness(drawn), start.discriminator(drawn))
    assert torch.equal(nets.encoder.head.code.bias, start.generator.w_avg)


def test_the_head_start_holds_the_generator_and_moves_the_head() -> None:
    start = given()
    before = {name: t.clone() for name, t in start.generator.state_dict().items()}
    training = make(STYLE, warm_start=start)
    head = {name: t.clone() for name, t in training.nets.encoder.head.named_parameters()}
    losses = [training.step(step) for step in range(4)]
    assert set(losses[1]) == {"discriminator", "latent", "sign_real"}
    moved_head = dict(training.nets.encoder.head.named_parameters())
    assert not any(torch.equal(tensor, moved_head[name]) for name, tensor in head.items())
    held = dict(training.nets.generator.named_parameters())
    assert all(torch.equal(parameter, before[name]) for name, parameter in held.items())
    training.step(4)  # the joint game moves all of it but the noise
    moved = {name for name, parameter in held.items() if not torch.equal(parameter, before[name])}
    assert moved == {name for name in held if not name.endswith("noise_strength")}
    for name, tensor in start.generator.state_dict().items():
        assert torch.equal(tensor, before[name])  # what was given is left alone


def test_a_warm_start_that_does_not_fit_is_refused() -> None:
    start = given()
    assert WarmStart.of(None, None) is None
    assert WarmStart.of(start.generator, start.discriminator) == start
    with pytest.raises(ValueError, match=r"StyleGAN2Discriminator as discriminator .* got none"):
        WarmStart.of(start.generator, None)
    with pytest.raises(ValueError, match=r"expected a StyleGAN2 as generator .* got Linear"):
        WarmStart.of(torch.nn.Linear(1, 1), start.discriminator)
    with pytest.raises(
        ValueError, match="expected backbone stylegan2 with a warm start, got dcgan"
    ):
        make(DIGITS, warm_start=start)
    with pytest.raises(ValueError, match="of 16 px, as the data, got 32 and 32 px"):
        make(STYLE, warm_start=given(32))
    with pytest.raises(ValueError, match="without labels"):
        make(STYLE, warm_start=given(c_dim=2))


def test_it_learns_to_invert() -> None:
    config = replace(DIGITS, images=4_000, start_images=400, average_images=100, latent_noise=0.1)
    training = make(config)
    before = training.evaluate()
    for step in range(150):
        losses = training.step(step)
    after = training.evaluate()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert after["psnr_db"] > before["psnr_db"] + 1
    assert after["mae"] < before["mae"]


def test_augmentation_adapts_and_leaves_codes_alone() -> None:
    training = make(replace(STYLE, start_images=0, augment_target=0.6, augment_images=64))
    losses = training.step(0)
    assert "augment" in losses
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_patches_are_pieces_of_their_images() -> None:
    x = torch.arange(2 * 3 * 6 * 6.0).view(2, 3, 6, 6)
    found = patches(x, 4, torch.Generator().manual_seed(0))
    assert found.shape == (2, 3, 4, 4)
    for image, piece in zip(x, found, strict=True):
        places = [(r, c) for r in range(3) for c in range(3)]
        assert any(torch.equal(image[:, r : r + 4, c : c + 4], piece) for r, c in places)
    training = make(replace(STYLE, patch_px=8, channels=(8, 8), discriminator_channels=(8, 8)))
    assert training.networks()["generator"].resolution == 8
    training.step(0)


def test_rates_rise_in_each_phase_and_fall_at_the_end() -> None:
    config = InvGANConfig(images=100_000, start_images=20_000, joint_rate=0.5)
    assert config.rate(0) == pytest.approx(0.02)
    assert config.rate(19_999) == 1
    assert config.rate(20_000) == pytest.approx(0.01)
    assert config.rate(60_000) == 0.5
    assert config.rate(100_000) == 0.025


def test_a_loss_that_is_no_number_stops_it_and_keeps_the_last_state(tmp_path: Path) -> None:
    training = make(replace(DIGITS, start_images=0))
    every = {"log_every": 8, "checkpoint_every": 16}
    train(training, tmp_path, images=16, **every)
    good = (tmp_path / "state.pt").read_bytes()
    kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    with torch.no_grad():
        next(training.nets.generator.parameters()).fill_(torch.nan)
    training.load_state_dict = lambda state: None  # type: ignore[method-assign]  # goes on as it is
    with pytest.raises(NonFiniteError, match=r"expected finite .* keeps the last good state"):
        train(training, tmp_path, images=96, **every)
    assert (tmp_path / "state.pt").read_bytes() == good
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == kept
    stored = torch.load(tmp_path / "state.pt", weights_only=True)
    assert stored["steps"] == 2
    training = make(replace(DIGITS, start_images=0))
    train(training, tmp_path, images=24, **every)  # and it is gone on with
    assert all(torch.isfinite(tensor).all() for tensor in tensors(training).values())


def test_a_rate_far_too_high_stops_it(tmp_path: Path) -> None:
    training = make(replace(DIGITS, learning_rate=1e18, start_images=0))
    with pytest.raises(NonFiniteError, match="expected finite"):
        train(training, tmp_path, images=96, log_every=8, checkpoint_every=96)


def test_bad_settings_and_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="expected a stage among naive, augmented, full"):
        InvGANConfig(stage="complete")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected a backbone among"):
        InvGANConfig(backbone="vae")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected an inferred_share between 0 and 1"):
        InvGANConfig(inferred_share=1.0)
    with pytest.raises(ValueError, match="for grey, got stylegan2"):
        InvGANConfig(grey=True)
    with pytest.raises(ValueError, match="a batch of 8 beside them, got 15"):
        InvGANTraining(blobs(15), STYLE, Compute())
    with pytest.raises(ValueError, match="expected images of at least 32 px"):
        make(replace(STYLE, patch_px=32))
