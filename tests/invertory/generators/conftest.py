"""The weights of random-face, for the tests that need them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.resources.models import ModelStore
from invertory.training.preview_head import FILES


@pytest.fixture(scope="session")
def random_face() -> Path:
    """Folder of the four files: $INVERTORY_RANDOM_FACE, or downloaded once."""
    named = os.environ.get("INVERTORY_RANDOM_FACE")
    if named:
        return Path(named)
    try:
        found = ModelStore().fetch_all(
            "pypi://random-face==2021.7.21.1#random_face/data/*Network.*"
        )
    except Exception as error:
        pytest.skip(f"random-face 2021.7.21.1 cannot be had from the package index: {error}")
    return found[0].parent


@pytest.fixture(scope="session")
def mobile(random_face: Path) -> MobileStyleGAN:
    """MobileStyleGAN converted from those files, without a preview head."""
    return MobileStyleGAN.from_openvino(*[(random_face / name).read_bytes() for name in FILES])
