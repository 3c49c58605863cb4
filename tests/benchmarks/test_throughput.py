"""What the benchmark of throughput runs on, and what it measures."""

import os

import pytest
import torch

from benchmarks.throughput.bench import on_cores


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_cores_are_lent_for_the_block_alone():
    allowed = os.sched_getaffinity(0)
    with on_cores(1):
        assert len(os.sched_getaffinity(0)) == torch.get_num_threads() == 1
    assert os.sched_getaffinity(0) == allowed


def test_more_threads_than_cores_are_refused():
    many = len(os.sched_getaffinity(0)) + 1
    with pytest.raises(ValueError, match="name fewer with --threads"), on_cores(many):
        pass
