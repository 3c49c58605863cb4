"""The StyleGAN2 trainer, both schedules, on blobs of 16 px."""

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
from invertory.images import Pixels
from invertory.networks import NETWORKS
from invertory.networks.classifier import AttributeClassifier
from invertory.training.compute import Compute
from invertory.training.loop.train import train
from invertory.training.stylegan2.config import StyleGAN2TrainingConfig
from invertory.training.stylegan2.trainer import StyleGAN2Training, stylegan2

FROM_AUTOENCODER = StyleGAN2TrainingConfig(
    images=128,
    autoencoder_images=32,
    joint_images=32,
    batch_size=8,
    held_out=8,
    channels=(8, 8, 8),
    discriminator_channels=(8, 8, 8),
    encoder_channels=(8, 8, 8),
    w_dim=8,
    r1_every=2,
    final_share=0.25,
)
PLAIN = replace(
    FROM_AUTOENCODER,
    autoencoder_images=0,
    joint_images=0,
    mapping_layers=2,
    noise=True,
    light=False,
    flips=True,
    path_weight=2.0,
    path_every=2,
    augment_target=0.6,
    augment_images=64,
)


def blobs(num: int = 40, size_px: int = 16) -> Pixels:
    """Discs of random position, size and colour on grey."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size_px, :size_px]
    images = np.full((num, size_px, size_px, 3), 120, np.uint8)
    for image in images:
        row, column, radius = rng.uniform((4, 4, 2), (12, 12, 6))
        inside = (y - row) ** 2 + (x - column) ** 2 < radius**2
        image[inside] = rng.integers(0, 256, 3)
    return images


def make(config: StyleGAN2TrainingConfig, **options: Any) -> StyleGAN2Training:
    return stylegan2(blobs(), config, Compute(precision="bfloat16"), **options)


def tensors(training: StyleGAN2Training) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor
        for name, network in training.networks().items()
        for key, tensor in network.state_dict().items()
    }


@pytest.mark.parametrize("config", [FROM_AUTOENCODER, PLAIN], ids=["autoencoder", "plain"])
def test_a_killed_training_reaches_the_same_weights(
    tmp_path: Path, config: StyleGAN2TrainingConfig
) -> None:
    every = {"log_every": 24, "checkpoint_every": 48, "evaluate_every": 128}
    undisturbed = make(config)
    train(undisturbed, tmp_path / "a", images=128, **every)
    program = (
        "import os, signal, sys; sys.path[:0] = [{tests!r}]\n"
        "import torch; torch.set_num_threads({threads})\n"
        "from pathlib import Path\n"
        "from {module} import FROM_AUTOENCODER, PLAIN, make\n"
        "from {train.__module__} import train\n"
        "def kill(seen, total, values):\n"
        "    seen >= 72 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "train(make({config}), Path({folder!r}), images=128, progress=kill, log_every=24,\n"
        "      checkpoint_every=48, evaluate_every=128)"
    ).format(
        tests=str(Path(__file__).parent),
        module=Path(__file__).stem,
        train=train,
        threads=torch.get_num_threads(),
        config="PLAIN" if config is PLAIN else "FROM_AUTOENCODER",
        folder=str(tmp_path / "b"),
    )
    root = Path(invertory.__file__).resolve().parents[1]
    killed = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(root)}, cwd=root
    )
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "b" / "generator.safetensors").exists()
    resumed = make(config)
    train(resumed, tmp_path / "b", images=128, **every)
    got = tensors(resumed)
    assert all(torch.equal(got[name], tensor) for name, tensor in tensors(undisturbed).items())


def test_every_loss_comes_in_its_phase() -> None:
    training = make(FROM_AUTOENCODER)
    names = [set(training.step(step)) for step in range(9)]
    assert names[0] == names[3] == {"codes", "pixels"}
    joint = {"codes", "pixels", "generator", "features", "discriminator", "r1", "sign_real"}
    assert names[4] == joint
    assert names[5] == joint - {"r1"}
    assert names[8] == joint


def test_the_plain_schedule_trains_its_mapping_and_adapts() -> None:
    training = make(PLAIN)
    mapping = training.nets.generator.mapping.get_submodule("fc0").weight.detach().clone()
    for step in range(4):
        losses = training.step(step)
        assert all(torch.isfinite(loss) for loss in losses.values())
    assert "encoder" not in training.networks()
    assert not torch.equal(training.nets.generator.mapping.get_submodule("fc0").weight, mapping)
    assert training.nets.generator.w_avg.abs().sum() > 0
    assert "augment" in losses
    assert "path" in training.step(4)


def test_an_autoencoder_learns_to_reconstruct() -> None:
    config = replace(FROM_AUTOENCODER, images=3_000, autoencoder_images=3_000, average_images=100)
    training = make(replace(config, latent_noise=0.1))
    before = training.evaluate()["psnr_db"]
    for step in range(100):
        training.step(step)
    assert training.evaluate()["psnr_db"] > before + 3


def test_what_is_kept_loads_and_fits_together(tmp_path: Path) -> None:
    training = make(FROM_AUTOENCODER)
    train(training, tmp_path, images=64)
    kept = {}
    for name, network in training.networks().items():
        architecture = next(cls for cls in NETWORKS.values() if cls is type(network))
        file = load_file(tmp_path / f"{name}.safetensors")
        kept[name] = architecture.load(file, network.config)
    held_out = torch.from_numpy(blobs()[32:]).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    generator, encoder = kept["generator"], kept["encoder"]
    # the w of the encoder lie where the generator's own do
    w = encoder(held_out)[:, 0]
    drawn = generator.mapping(torch.randn(64, 8, generator=torch.Generator().manual_seed(0)))
    assert ((w - drawn.mean(0)).abs() < 8 * drawn.std(0)).all()
    assert generator.synthesis(generator.broadcast(w)).shape == (8, 3, 16, 16)
    assert kept["discriminator"](held_out).shape == (8,)


def test_measures_take_a_classifier() -> None:
    classifier = AttributeClassifier(binary=("round",), size_px=16, widths=(4, 8))
    training = make(FROM_AUTOENCODER, classifier=classifier)
    metrics = training.evaluate()
    assert set(metrics) == {"psnr_db", "mae", "frechet"}
    assert metrics == training.evaluate()
    assert training.sheet().shape == (3, 5 * 16, 12 * 16)


def test_rates_rise_in_each_phase_and_fall_at_the_end() -> None:
    config = StyleGAN2TrainingConfig(images=100_000, autoencoder_images=20_000, joint_images=20_000)
    assert config.rate(20_000) == config.rate(40_000) == pytest.approx(0.02)
    assert config.rate(19_999) == config.rate(30_000) == 1
    assert config.rate(90_000) == pytest.approx(0.5)
    assert config.rate(100_000) == 0.05
    assert [config.share(images) for images in (0, 20_000, 40_000)] == [1.0, 0.5, 0.125]


def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="a batch of 8 more images than the 8 held out"):
        stylegan2(blobs(15), FROM_AUTOENCODER, Compute())
    with pytest.raises(ValueError, match="expected autoencoder_images before joint_images"):
        StyleGAN2TrainingConfig(autoencoder_images=0)
