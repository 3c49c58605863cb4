"""Error maps of a tiny generator's inversions, and the predictor that learns them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from invertory.encoders import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.networks.face_parser import FaceParser
from invertory.perceptual import PixelPyramid
from invertory.training.compute import Compute, TrainingImages
from invertory.training.loop.train import train
from invertory.training.sam.errors import (
    InversionNetworks,
    InversionSettings,
    distance_map,
    interleaved,
    prepare_errors,
)
from invertory.training.sam.invertibility import (
    InvertedImages,
    InvertibilitySettings,
    InvertibilityTraining,
    measure,
)

HOW = InversionSettings(steps=4, w_samples=64, batch_size=4)
SMALL = InvertibilitySettings(
    images=512, batch_size=8, num=48, held_out=8, widths=(8, 12), half_life_images=50
)


def inverter() -> InversionNetworks:
    G = StyleGAN2(img_resolution=16, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        encoder = ResidualEncoder(
            resolution=16, num_ws=6, w_dim=8, channels=(4, 8, 8), narrow=4, hidden=16
        )
    G.initialise(torch.Generator().manual_seed(1))
    return InversionNetworks(G, encoder.eval().requires_grad_(False), PixelPyramid())


def images(num: int) -> TrainingImages:
    drawn = np.random.default_rng(0).integers(0, 256, (num, 16, 16, 3), dtype=np.uint8)
    return TrainingImages(drawn, Compute())


def patches() -> InvertedImages:
    """Red squares, hard in W+ and easy in F2, on grey, easy in both."""
    rng = np.random.default_rng(0)
    shown = np.full((48, 16, 16, 3), 128, np.uint8)
    errors = np.full((48, 2, 16, 16), 0.1, np.float16)
    for i in range(48):
        y, x = rng.integers(0, 9, 2)
        shown[i, y : y + 7, x : x + 7] = (255, 0, 0)
        errors[i, 0, y : y + 7, x : x + 7] = 1.0
    return InvertedImages(shown, errors, ("W+", "F2"), np.arange(48) % 2 == 0)


def test_the_errors_are_resumed_where_they_were_stopped(tmp_path: Path) -> None:
    found, how = inverter(), HOW
    whole = prepare_errors(found, images(6), tmp_path / "a", how, block=2)
    assert whole.shape == (6, 2, 16, 16)
    assert (np.asarray(whole) >= 0).all()

    class Killed(Exception):  # noqa: N818 - what a kill does
        pass

    def kill(done: int, num: int) -> None:
        if done == 4:
            raise Killed

    with pytest.raises(Killed):
        prepare_errors(found, images(6), tmp_path / "b", how, block=2, progress=kill)
    seen: list[int] = []
    parts = prepare_errors(
        found, images(6), tmp_path / "b", how, block=2, progress=lambda done, num: seen.append(done)
    )
    assert seen == [6]
    assert np.array_equal(whole, parts)
    with pytest.raises(ValueError, match="name another folder"):
        prepare_errors(found, images(5), tmp_path / "b", how)


def test_a_distance_by_place_has_the_distances_mean_and_its_place() -> None:
    a = torch.zeros(2, 3, 16, 16)
    b = a.clone()
    b[:, :, 4:8, 4:8] = 1
    pixels = PixelPyramid()
    found = distance_map(pixels, a, b)
    whole = pixels.distance(pixels.features(a), pixels.features(b))
    torch.testing.assert_close(found.mean((1, 2, 3)), whole)
    assert found[0, 0, 5, 5] > 10 * found[0, 0, 14, 14]
    assert distance_map(pixels, a, a).eq(0).all()


def test_sets_are_mixed_by_share_from_their_last_rows_on() -> None:
    rows = interleaved([10, 5], [0.75, 0.25], 8)
    assert [own for own, _ in rows].count(0) == 6
    assert rows[0] == (0, 9)
    assert {row for own, row in rows if own == 1} == {4, 3}
    with pytest.raises(ValueError, match="draw more"):
        interleaved([2, 5], [0.75, 0.25], 8)


def test_the_loss_falls_and_held_out_errors_are_told() -> None:
    training = InvertibilityTraining(patches(), SMALL, Compute())
    before = training.evaluate()
    losses = [float(training.step(step)["loss"]) for step in range(60)]
    assert sum(losses[-5:]) < 0.4 * sum(losses[:5])
    after = training.evaluate()
    assert after["W+/correlation"] > max(before["W+/correlation"] + 0.2, 0.8)
    assert after["mae"] < before["mae"]
    assert after["W+/mae"] < after["W+/mae_of_mean"]
    sheet = training.sheet()
    assert sheet is not None
    assert sheet.shape == (3, 5 * 16, 8 * 16)


def test_the_unit_is_what_plain_images_rarely_exceed() -> None:
    found = patches()
    found.errors[:] = 0.1
    found.errors[~found.is_plain] = 5.0  # no matter
    assert InvertibilityTraining(found, SMALL, Compute()).evaluate()["unit"] == pytest.approx(
        0.1, rel=1e-3
    )


def test_a_parser_gives_the_backbone() -> None:
    parser = FaceParser(segments=("a", "b"), size_px=16, widths=(8, 12))
    training = InvertibilityTraining(patches(), SMALL, Compute(), parser)
    kept = training.networks()["invertibility"].state_dict()
    assert torch.equal(kept["stem.weight"], parser.stem.weight)


def test_a_training_that_was_stopped_ends_with_the_same_network(tmp_path: Path) -> None:
    cadence = {"checkpoint_every": 16, "evaluate_every": 32, "log_every": 16}

    def training() -> InvertibilityTraining:
        return InvertibilityTraining(patches(), SMALL, Compute())

    train(training(), tmp_path / "whole", images=48, **cadence)
    train(training(), tmp_path / "parts", images=32, **cadence)
    train(training(), tmp_path / "parts", images=48, **cadence)
    name = "invertibility.safetensors"
    assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    card = json.loads((tmp_path / "whole" / "invertibility.json").read_text())
    assert card["architecture"]["config"]["spaces"] == ["W+", "F2"]


def test_correlation_is_1_for_the_truth_and_minus_1_for_its_opposite() -> None:
    truth = torch.rand(3, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    assert measure(truth, truth)["correlation"] == pytest.approx(1)
    assert measure(1 - truth, truth)["correlation_of_means"] == pytest.approx(-1)
    assert measure(truth + 0.5, truth)["mae"] == pytest.approx(0.5)


def test_errors_of_other_images_are_refused() -> None:
    found = patches()
    with pytest.raises(ValueError, match="invert the same images"):
        InvertibilityTraining(
            InvertedImages(found.images[:40], found.errors, found.spaces, found.is_plain),
            SMALL,
            Compute(),
        )
    with pytest.raises(ValueError, match="expected held_out"):
        InvertibilitySettings(num=8, held_out=8)
