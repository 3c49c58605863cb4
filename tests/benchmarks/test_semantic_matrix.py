"""The parts of InvGAN's table 2, on few small portraits."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.compare.budgets import Arm
from benchmarks.semantic_matrix import sources
from benchmarks.semantic_matrix.__main__ import as_markdown, matrix
from benchmarks.semantic_matrix.classifiers import Effort, difference, precision, trained
from benchmarks.semantic_matrix.sources import ORIGINAL, Inverter, Portraits, Source, source
from invertory.generators.toy import ToyGenerator
from invertory.perceptual import PixelPyramid
from invertory.resources.models import ModelStore
from invertory.training.compute import Compute

GENERATOR = ToyGenerator(resolution=16, frequencies=3)
TINY = Effort(images=192, batch_size=16, learning_rate=0.01, stem=4, widths=(8, 8))


class Exact(nn.Module):
    """The toy's own inverse, as an encoder."""

    resolution, num_ws, w_dim = 16, GENERATOR.num_ws, GENERATOR.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return GENERATOR.invert_exactly(x)


def inverter(tiles: int = 1) -> Inverter:
    parameters = {"tiles": tiles, "space": "w_plus"}
    arm = Arm("invgan_tiled", "invgan_tiled", parameters)
    networks: dict[str, nn.Module] = {"invgan": Exact()}
    return Inverter(arm, GENERATOR, networks, PixelPyramid(), {"parameters": parameters})


def striped(n: int, seed: int) -> tuple[np.ndarray, Tensor]:
    """Images that are bright above, or on the left, or both; and which of them are."""
    rng = torch.Generator().manual_seed(seed)
    labels = (torch.rand(n, 2, generator=rng) < 0.5).float()
    images = torch.rand(n, 16, 16, 3, generator=rng) * 60
    images[:, :8] += 120 * labels[:, 0].view(-1, 1, 1, 1)
    images[:, :, ::2] += 70 * labels[:, 1].view(-1, 1, 1, 1)
    return images.byte().numpy(), labels


def test_a_classifier_learns_what_its_labels_say_and_again_alike() -> None:
    (images, labels), (others, truth) = striped(128, 0), striped(96, 1)
    compute, names = Compute(), ("above", "stripes")
    first, again = (trained(images, labels, names, TINY, compute, seed=1) for _ in range(2))
    x = torch.from_numpy(others).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        found = first.raw(x)
        assert torch.equal(found, again.raw(x))
    measured = precision([found], truth, names)
    assert measured.mean > 0.9
    assert set(measured.by_attribute) == set(names)
    assert measured.low <= measured.mean <= measured.high


def test_a_difference_is_paired() -> None:
    truth = torch.tensor([[1.0], [0.0]]).repeat(30, 1)
    good, bad = truth.clone(), torch.zeros_like(truth)
    mean, low, high = difference([good], [bad], truth)
    assert mean == pytest.approx(0.5)
    assert 0 < low < mean < high
    assert difference([good], [good], truth) == (0, 0, 0)


def test_reconstructions_are_made_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = Portraits.of(6, 4, 32, tmp_path)
    messages: list[str] = []
    first = source(inverter(2), people, tmp_path, batch=4, shown=messages.append)
    assert len(messages) == 2
    assert first.train.shape == (6, 32, 32, 3)
    # the toy draws low frequencies of each tile: near the portrait, and not the portrait
    error = np.abs(first.test.astype(float) - np.asarray(people.test.images)).mean()
    assert 0 < error < 40
    monkeypatch.setattr(Inverter, "reconstruct", None)
    again = source(inverter(2), people, tmp_path, batch=4, shown=messages.append)
    assert len(messages) == 2
    np.testing.assert_array_equal(first.train, again.train)


def test_another_parameter_is_another_source(tmp_path: Path) -> None:
    people = Portraits.of(2, 2, 32, tmp_path)
    messages: list[str] = []
    for tiles in (1, 2):
        source(inverter(tiles), people, tmp_path, batch=2, shown=messages.append)
    assert len(messages) == 4


def test_an_arm_without_its_network_is_named() -> None:
    absent: dict[str, str] = {}
    arm = Arm("invgan", "invgan_tiled", {"invgan": "trained://no_such_encoder"})
    assert sources.loaded(arm, "", 64, absent, ModelStore()) is None
    assert "no_such_encoder" in absent["invgan"]


def test_the_matrix_has_each_source_against_each(tmp_path: Path) -> None:
    people = Portraits.of(96, 64, 16, tmp_path)
    blank = [np.zeros_like(one.images) for one in (people.train, people.test)]
    given = [
        Source(ORIGINAL, people.train.images, people.test.images),
        Source("blank", *blank),
    ]
    args = argparse.Namespace(device="cpu", images=128, repeats=1)
    results = matrix(people, given, args)
    assert list(results["trained_on"]) == [ORIGINAL, "blank"]
    # an image that shows nothing tells nothing: all scores are equal
    share = np.mean([people.test.column(name).mean() for name in results["attributes"]])
    assert results["trained_on"][ORIGINAL]["blank"]["mean"] == pytest.approx(share, abs=0.02)
    text = as_markdown("one pass", results)
    assert text.count("\n| blank |") == 2
    assert "| original | blank |" in text
