"""The trainers of encoders on a linear generator learn, and resume after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from invertory.encoders import ResidualEncoder
from invertory.generators.stylegan2_discriminator import StyleGAN2Discriminator
from invertory.generators.toy import ToyGenerator
from invertory.networks import build
from invertory.perceptual import PixelPyramid
from invertory.training.idinvert.conventional_encoder import (
    ConventionalEncoderConfig,
    ConventionalEncoderTraining,
    row_weights,
)
from invertory.training.idinvert.domain_guided_encoder import (
    DomainGuidedEncoderConfig,
    DomainGuidedEncoderTraining,
)
from invertory.training.idinvert.pairs import Pairs, prepare_pairs
from invertory.training.loop.run import Training
from invertory.training.loop.train import train
from invertory.training.optimiser import seeded

G = ToyGenerator(resolution=8, frequencies=2)
SMALL = {"channels": (8, 16), "narrow": 8, "hidden": 32}
PAIRED = ConventionalEncoderConfig(
    images=1280,
    batch_size=16,
    learning_rate=1e-2,
    half_life_images=64,
    held_out=32,
    image_px=8,
    **SMALL,  # type: ignore[arg-type]
)
GUIDED = DomainGuidedEncoderConfig(
    images=800, batch_size=8, learning_rate=1e-2, half_life_images=32, held_out=16, r1_every=2
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Pairs:
    return prepare_pairs(G, tmp_path_factory.mktemp("pairs"), 256, size_px=8)


def conventional(pairs: Pairs, **settings: Any) -> ConventionalEncoderTraining:
    return ConventionalEncoderTraining(G, pairs, replace(PAIRED, **settings), PixelPyramid())


def guided(pairs: Pairs, **settings: Any) -> DomainGuidedEncoderTraining:
    encoder = seeded(
        lambda: ResidualEncoder(resolution=8, num_ws=4, w_dim=G.w_dim, **SMALL),  # type: ignore[arg-type]
        0,
    )
    encoder.set_statistics(torch.from_numpy(np.array(pairs.w_plus)))
    discriminator = StyleGAN2Discriminator(img_resolution=8, channel_table=(8, 8))
    discriminator.initialise(torch.Generator().manual_seed(1))
    config = replace(GUIDED, **settings)
    return DomainGuidedEncoderTraining(
        G, discriminator, encoder, PixelPyramid(), pairs.images, config
    )


def run(training: Training, num_steps: int) -> list[dict[str, Tensor]]:
    return [training.step(step) for step in range(num_steps)]


def test_a_conventional_encoder_learns_the_latents_of_images(pairs: Pairs) -> None:
    training = conventional(pairs)
    before = training.evaluate()
    run(training, 80)
    after = training.evaluate()
    assert before["latent_error"] == pytest.approx(1, abs=0.15)  # it says the mean
    assert after["latent_error"] < 0.75 * before["latent_error"]
    assert after["psnr_db"] > before["psnr_db"] + 1


def test_the_image_terms_act_late_and_on_few_images(pairs: Pairs) -> None:
    training = conventional(pairs, image_weight=1.0, image_from=0.5)
    losses = run(training, 41)
    assert [sorted(loss) for loss in losses[:40]] == [["latent"]] * 40
    assert sorted(losses[40]) == ["image", "latent", "mse", "perceptual"]
    expected = losses[40]["mse"] + 0.5 * losses[40]["perceptual"]
    torch.testing.assert_close(losses[40]["image"], expected)


def test_rows_weigh_by_what_they_change(pairs: Pairs) -> None:
    class Louder(ToyGenerator):
        """Row 0 has a weight of 3, and row 3 of 0."""

        def synthesis(self, w_plus: Tensor) -> Tensor:
            gains = torch.tensor([3.0, 1.0, 1.0, 0.0])[:, None]
            return super().synthesis(w_plus * gains)

    w_plus = torch.from_numpy(np.array(pairs.w_plus[:8])).float()
    found = row_weights(Louder(resolution=8, frequencies=2), w_plus, 8)
    assert found.mean() == pytest.approx(1)
    assert found[0] > 2 * found[1]
    assert found[3] == found.min() > 0


def test_too_few_pairs_are_refused(pairs: Pairs) -> None:
    with pytest.raises(ValueError, match="at least 266 pairs"):
        conventional(pairs, held_out=250)


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_a_domain_guided_encoder_learns_to_reconstruct(pairs: Pairs, preset: str) -> None:
    training = guided(pairs, preset=preset)
    before = training.evaluate()
    losses = run(training, 100)
    after = training.evaluate()
    assert after["mse"] < 0.7 * before["mse"]
    assert after["psnr_db"] > before["psnr_db"] + 1
    assert [("r1" in loss) for loss in losses[:4]] == [True, False, True, False]
    assert all(torch.isfinite(value) for loss in losses for value in loss.values())


def test_presets_have_the_weights_and_forms_of_print_and_code(pairs: Pairs) -> None:
    paper, code = guided(pairs, preset="paper"), guided(pairs, preset="code")
    assert (paper.adversarial_weight, code.adversarial_weight) == (0.1, 0.08)
    assert guided(pairs, adversarial_weight=0.5).adversarial_weight == 0.5
    told = torch.tensor([1.0, -2.0])
    assert paper._score(told, is_real=True) == pytest.approx(-0.5)
    assert paper._score(told, is_real=False) == pytest.approx(0.5)
    logistic = torch.nn.functional.logsigmoid(told).mean()
    torch.testing.assert_close(code._score(told, is_real=True), logistic)


def test_the_generator_and_without_a_weight_the_discriminator_stay(pairs: Pairs) -> None:
    training = guided(pairs, adversarial_weight=0.0)
    before = [p.detach().clone() for p in training.discriminator.parameters()]
    losses = run(training, 2)
    assert sorted(losses[0]) == ["adversarial", "mse", "perceptual"]
    after = training.discriminator.parameters()
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_the_gradient_penalty_is_the_squared_slope(pairs: Pairs) -> None:
    class Plane(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.full((3, 8, 8), 0.5))

        def forward(self, x: Tensor) -> Tensor:
            return (x * self.slope).sum((1, 2, 3))

    training = guided(pairs)
    training.discriminator = Plane()
    penalty = training._gradient_penalty(torch.rand(2, 3, 8, 8))
    assert penalty.item() == pytest.approx(0.25 * 192)


def test_images_finer_than_the_generators_are_refused(pairs: Pairs) -> None:
    fine = pairs.images.repeat(2, 1).repeat(2, 2)
    training = guided(pairs)
    with pytest.raises(ValueError, match="at most 8 px"):
        DomainGuidedEncoderTraining(
            G, training.discriminator, training.encoder, PixelPyramid(), fine, GUIDED
        )


def test_fewer_images_than_a_batch_are_refused(pairs: Pairs) -> None:
    with pytest.raises(ValueError, match="expected at least 258 images"):
        guided(pairs, held_out=250)


@pytest.mark.parametrize("make", [conventional, guided], ids=["conventional", "guided"])
def test_a_killed_training_goes_on_to_the_same_weights(
    make: Callable[[Pairs], Training], pairs: Pairs, tmp_path: Path
) -> None:
    whole = train(make(pairs), tmp_path / "whole", images=64, log_every=16)
    train(make(pairs), tmp_path / "parts", images=32, checkpoint_every=16, log_every=16)
    parts = train(make(pairs), tmp_path / "parts", images=64, checkpoint_every=16, log_every=16)
    tensors = [load_file(folder / "encoder.safetensors") for folder in (whole, parts)]
    assert all(torch.equal(tensors[0][name], tensors[1][name]) for name in tensors[0])
    card = json.loads((parts / "encoder.json").read_text())
    told = card["architecture"]
    encoder = build(told["name"], told["config"], tensors[1])
    assert encoder(torch.zeros(1, 3, 8, 8)).shape == (1, 4, G.w_dim)
    assert card["images_seen"] == 64
    assert (parts / "sheets" / "000000064.jpg").is_file()
