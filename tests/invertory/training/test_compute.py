"""Batches, draws and averages of trainings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from invertory.training.compute import (
    Compute,
    TrainingImages,
    average_of,
    batch_rows,
    decay_of,
    update_average,
)


def test_each_epoch_is_a_permutation() -> None:
    rows = torch.cat([batch_rows(10, 4, seed=3, step=step) for step in range(5)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()


def test_a_batch_larger_than_the_data_takes_several_epochs() -> None:
    rows = batch_rows(3, 8, seed=0, step=0)
    assert sorted(rows[:3].tolist()) == sorted(rows[3:6].tolist()) == [0, 1, 2]


def test_rows_are_a_function_of_seed_and_step() -> None:
    first = batch_rows(100, 8, seed=1, step=30)
    for step in range(60):  # other epochs in between
        batch_rows(100, 8, seed=1, step=step)
    assert torch.equal(batch_rows(100, 8, seed=1, step=30), first)
    assert not torch.equal(batch_rows(100, 8, seed=2, step=30), first)


def test_draws_differ_by_seed_step_and_stream() -> None:
    numbers = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)]
    draws = [torch.randn(4, generator=Compute().rng(*given)).tolist() for given in numbers]
    assert draws[0] == draws[-1]
    assert len({tuple(draw) for draw in draws}) == 4


def test_images_become_tensors_in_range() -> None:
    array = np.zeros((3, 8, 8, 3), np.uint8)
    array[1] = 255
    batch = TrainingImages(array, Compute())[torch.tensor([1, 0])]
    assert batch.shape == (2, 3, 8, 8)
    assert batch[0].unique().tolist() == [1.0]
    assert batch[1].unique().tolist() == [-1.0]
    with pytest.raises(ValueError, match=r"expected uint8 \[N, H, W, 3\], got float64"):
        TrainingImages(array.astype(float), Compute())


def test_images_of_mixed_size_are_refused() -> None:
    mixed = np.empty(2, object)
    mixed[:] = [np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)]
    with pytest.raises(ValueError, match="bring images of several sizes to one first"):
        TrainingImages(mixed, Compute())


def test_an_average_halves_the_distance_in_its_half_life() -> None:
    network = nn.BatchNorm1d(2)
    average = average_of(network)
    network.weight.data.fill_(3.0)
    network.num_batches_tracked.fill_(7)
    decay = decay_of(80, 8)
    for _ in range(10):
        update_average(average, network, decay)
    torch.testing.assert_close(average.weight, torch.tensor([2.0, 2.0]))
    assert average.num_batches_tracked == 7
    assert not average.weight.requires_grad


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="expected precision float32 or bfloat16"):
        Compute(precision="half")
