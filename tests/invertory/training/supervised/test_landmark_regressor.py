import pytest
import torch

from invertory.portraits import World
from invertory.portraits.dataset import prepare
from invertory.training.compute import Compute
from invertory.training.loop.train import train
from invertory.training.supervised.landmark_regressor import (
    RegressorSettings,
    RegressorTraining,
    normalised_error,
)

SMALL = RegressorSettings(
    images=640, batch_size=16, widths=(8, 12, 16), held_out=8, half_life_images=100
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portraits")
    return {
        "in_domain": prepare(folder / "in_domain", 40, size_px=32),
        "ood": prepare(folder / "ood", 32, size_px=32, world=World(ood=1.0)),
    }


def training(sets):
    return RegressorTraining(SMALL, sets, Compute())


def test_it_starts_at_the_mean_shape_and_the_error_of_moved_heads_falls(sets):
    trained = training(sets)
    before = trained.evaluate()
    assert before["nme"] < 0.25 < before["nme_moved"]
    for step in range(40):
        trained.step(step)
    assert trained.evaluate()["nme_moved"] < 0.9 * before["nme_moved"]


def test_a_training_that_was_stopped_ends_with_the_same_network(sets, tmp_path):
    cadence = {"checkpoint_every": 32, "evaluate_every": 64, "log_every": 32}
    train(training(sets), tmp_path / "whole", images=96, **cadence)
    train(training(sets), tmp_path / "parts", images=64, **cadence)
    train(training(sets), tmp_path / "parts", images=96, **cadence)
    whole, parts = (
        (tmp_path / name / "landmarks.safetensors").read_bytes() for name in ("whole", "parts")
    )
    assert whole == parts


def test_the_error_is_in_distances_between_the_outer_eye_corners():
    points = torch.zeros(1, 68, 2)
    points[0, 45, 0] = 20.0
    told = points + torch.tensor([3.0, 4.0])
    assert normalised_error(told, points).tolist() == pytest.approx([0.25])
