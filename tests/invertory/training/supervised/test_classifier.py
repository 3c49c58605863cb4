import json
from dataclasses import replace

import pytest
import torch

from invertory.networks.classifier import AttributeClassifier
from invertory.portraits import ATTRIBUTES, BINARY, World
from invertory.portraits.dataset import prepare
from invertory.training.compute import Compute
from invertory.training.data.portrait_batches import PortraitMix
from invertory.training.loop.train import train
from invertory.training.supervised.classifier import ClassifierSettings, ClassifierTraining

SMALL = ClassifierSettings(
    images=512, batch_size=16, stem=4, widths=(8, 12, 16), held_out=16, half_life_images=100
)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("portraits")
    return {
        "in_domain": prepare(folder / "in_domain", 96, size_px=32),
        "ood": prepare(folder / "ood", 48, size_px=32, world=World(ood=1.0)),
    }


def training(sets, **changes):
    return ClassifierTraining(replace(SMALL, **changes), sets, Compute())


def test_the_loss_falls(sets):
    trained = training(sets)
    losses = [float(trained.step(step)["loss"]) for step in range(32)]
    assert sum(losses[-4:]) < 0.85 * sum(losses[:4])


def test_a_training_that_was_stopped_ends_with_the_same_network(sets, tmp_path):
    cadence = {"checkpoint_every": 32, "evaluate_every": 64, "log_every": 32}
    train(training(sets), tmp_path / "whole", images=128, **cadence)
    train(training(sets), tmp_path / "parts", images=64, **cadence)
    train(training(sets), tmp_path / "parts", images=128, **cadence)
    whole, parts = (
        (tmp_path / name / "classifier.safetensors").read_bytes() for name in ("whole", "parts")
    )
    assert whole == parts


def test_a_training_leaves_a_calibrated_network_and_a_confusion(sets, tmp_path):
    train(training(sets), tmp_path, images=64)
    card = json.loads((tmp_path / "classifier.json").read_text())
    assert card["architecture"]["name"] == "attribute_classifier"
    assert card["architecture"]["config"]["binary"] == list(BINARY)
    metrics = card["metrics"]
    for name in BINARY:
        counts = [metrics[f"{count}/{name}"] for count in ("tp", "fp", "tn", "fn")]
        assert sum(counts) == 2 * SMALL.held_out
    assert {"accuracy", "accuracy_unambiguous", "ece", "in_domain/accuracy"} <= metrics.keys()
    assert metrics["mae/yaw_deg"] > 0


def test_evaluation_calibrates_and_changes_no_later_step(sets):
    first, second = training(sets), training(sets)
    first.step(0), second.step(0)
    first.evaluate()
    kept = first.average.temperature
    assert kept.ne(1).any()
    assert torch.equal(first.step(1)["loss"], second.step(1)["loss"])


def test_bfloat16_trains_nearly_as_float32(sets):
    plain = training(sets).step(0)["loss"]
    narrow = ClassifierTraining(SMALL, sets, Compute(precision="bfloat16")).step(0)["loss"]
    assert float(narrow) == pytest.approx(float(plain), rel=0.05)


def test_continuous_attributes_are_in_their_unit(sets):
    average = training(sets).average
    assert isinstance(average, AttributeClassifier)
    ages = torch.from_numpy(
        sets["in_domain"].attributes[:, ATTRIBUTES.index("age_years")].copy()
    ).mean()
    at = average.attributes.index("age_years") - average.num_binary
    assert float(average.mean[at]) == pytest.approx(float(ages), abs=12)
    assert 5 < float(average.spread[at]) < 40


def mix(sets, **changes):
    usual = {"sets": sets, "shares": (3, 1), "held_out": 16, "compute": Compute()}
    return PortraitMix(**usual | changes)


def test_batches_keep_the_shares_and_never_hold_a_held_out_row(sets):
    mixed = mix(sets)
    seen = {"in_domain": set(), "ood": set()}
    for step in range(20):
        rows = mixed.batch(16, seed=0, step=step)
        assert {name: len(own) for name, own in rows.items()} == {"in_domain": 12, "ood": 4}
        for name, own in rows.items():
            seen[name] |= set(own.tolist())
    held = {
        name: {i for part in ("calibration", "test") for i in mixed.held(part, name)[name].tolist()}
        for name in mixed.names
    }
    assert {name: len(own) for name, own in held.items()} == {"in_domain": 32, "ood": 32}
    assert seen["in_domain"] == set(range(96)) - held["in_domain"]
    assert seen["ood"] == set(range(48)) - held["ood"]


def test_labels_belong_to_their_images(sets):
    mixed = mix(sets)
    rows = mixed.batch(8, seed=0, step=0)
    row = int(rows["ood"][0])
    first = len(rows["in_domain"])
    expected = torch.from_numpy(sets["ood"].attributes[row].copy())
    assert torch.equal(mixed.labels(rows, "attributes")[first], expected)
    pixels = torch.from_numpy(sets["ood"].images[row].copy()).permute(2, 0, 1) / 127.5 - 1
    assert torch.allclose(mixed.images(rows)[first], pixels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"held_out": 24}, "more than 48 images in 'ood' .* prepare more"),
        ({"shares": (1.0,)}, "a positive share for each of the sets"),
        ({"shares": (1.0, 0.0)}, "a positive share"),
    ],
)
def test_mixes_that_cannot_be_are_refused(sets, change, message):
    with pytest.raises(ValueError, match=message):
        mix(sets, **change)


def test_a_set_smaller_than_its_part_of_a_batch_is_refused(sets):
    with pytest.raises(ValueError, match=r"at least \d+ portraits in 'ood' beside 46 held out"):
        training(sets, held_out=23)


def test_sets_of_two_sizes_are_refused(sets, tmp_path):
    other = prepare(tmp_path, 40, size_px=16)
    with pytest.raises(ValueError, match="sets of one image size"):
        mix({"in_domain": sets["in_domain"], "other": other})
