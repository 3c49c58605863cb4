"""The published encoder's numbers: ../shared/data/golden/idinvert, from the official code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from invertory.encoders import IdinvertEncoder

RELATIVE = 2e-5  # relative to the largest value


@pytest.mark.parametrize("name", ["e64_bn", "e64_plain", "e64_wscale"])
def test_codes_are_those_of_the_official_encoder(name: str, shared: Callable[[str], Path]) -> None:
    folder = shared("data/golden/idinvert")
    told = json.loads((folder / "idinvert.json").read_text())[name]
    given = told["init_kwargs"]
    config = {
        "resolution": given["resolution"],
        "num_ws": told["num_layers"],
        "w_dim": given["w_space_dim"],
        "channels_base": given["encoder_channels_base"],
        "channels_max": given["encoder_channels_max"],
        "use_bn": given["use_bn"],
        "use_wscale": given["use_wscale"],
    }
    encoder = IdinvertEncoder.load(load_file(folder / f"{name}.safetensors"), config)
    golden = np.load(folder / f"{name}.npz", allow_pickle=False)
    code = encoder(torch.from_numpy(golden["x"]))
    limit = RELATIVE * float(np.abs(golden["code"]).max())
    torch.testing.assert_close(code, torch.from_numpy(golden["code"]), rtol=0, atol=limit)
