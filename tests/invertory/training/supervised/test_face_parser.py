import json

import pytest
import torch

from invertory.portraits import SEGMENTS, World
from invertory.portraits.dataset import prepare
from invertory.training.compute import Compute
from invertory.training.loop.train import train
from invertory.training.supervised.face_parser import (
    ParserSettings,
    ParserTraining,
    dice_loss,
    measure,
)

SMALL = ParserSettings(
    images=512, batch_size=8, widths=(8, 12, 16), held_out=8, half_life_images=50
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portraits")
    return {
        "in_domain": prepare(folder / "in_domain", 40, size_px=32),
        "ood": prepare(folder / "ood", 32, size_px=32, world=World(ood=1.0)),
    }


def training(sets):
    return ParserTraining(SMALL, sets, Compute())


def test_the_loss_falls_and_the_union_grows(sets):
    trained = training(sets)
    before = trained.evaluate()["miou"]
    losses = [float(trained.step(step)["loss"]) for step in range(40)]
    assert sum(losses[-4:]) < 0.7 * sum(losses[:4])
    assert trained.evaluate()["miou"] > before + 0.1


def test_a_training_that_was_stopped_ends_with_the_same_network(sets, tmp_path):
    cadence = {"checkpoint_every": 16, "evaluate_every": 32, "log_every": 16}
    train(training(sets), tmp_path / "whole", images=48, **cadence)
    train(training(sets), tmp_path / "parts", images=32, **cadence)
    train(training(sets), tmp_path / "parts", images=48, **cadence)
    whole, parts = (
        (tmp_path / name / "parser.safetensors").read_bytes() for name in ("whole", "parts")
    )
    assert whole == parts
    card = json.loads((tmp_path / "whole" / "parser.json").read_text())
    assert card["architecture"]["config"]["segments"] == list(SEGMENTS)
    assert {"miou", "iou/skin", "ood/miou", "ood/iou/ood"} <= card["metrics"].keys()


def test_the_sheet_shows_images_truth_and_what_was_told(sets):
    sheet = training(sets).sheet()
    assert sheet.shape == (3, 3 * 32, 8 * 32)
    assert sheet.abs().max() <= 1


def test_dice_is_0_for_the_truth_and_high_for_the_opposite():
    labels = torch.randint(0, 2, (1, 8, 8))
    right = 50.0 * torch.stack([1 - labels, labels], 1)
    assert float(dice_loss(right, labels)) == pytest.approx(0, abs=1e-4)
    assert float(dice_loss(-right, labels)) > 0.9


def test_segments_that_are_nowhere_are_left_out_of_the_mean():
    confusion = torch.zeros(len(SEGMENTS), len(SEGMENTS), dtype=torch.long)
    confusion[0, 0], confusion[1, 1], confusion[1, 0], confusion[0, 7] = 2, 3, 1, 2
    found = measure(confusion)
    assert found["miou"] == pytest.approx((2 / 5 + 3 / 4) / 2)
    assert "iou/ood" not in found
    assert found["pixel_accuracy"] == pytest.approx(5 / 8)
