from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from invertory.editing import EDITORS, sefa
from invertory.editing.sefa import factorise, factorise_weights, style_weights
from invertory.generators import Generator
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from invertory.generators.toy import ToyGenerator

Shared = Callable[[str], Path]


def golden(shared: Shared) -> dict[str, Tensor]:
    """Numbers of the published code, genforce/sefa 0d16060."""
    with np.load(shared("data/golden/sefa/sefa.npz"), allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def official_stylegan2(shared: Shared) -> Generator:
    folder = shared("data/golden/stylegan2_ada/m2.safetensors").parent
    kwargs = json.loads((folder / "variants.json").read_text())["m2"]
    config = StyleGAN2Config.from_nvidia(kwargs.get("init_kwargs", kwargs))
    tensors = load_file(folder / "m2.safetensors")
    return cast("Generator", StyleGAN2.load(tensors, asdict(config)))


def check_same(found: tuple[Tensor, Tensor], theirs: dict[str, Tensor], name: str) -> None:
    order = theirs[f"{name}eigenvalues"].argsort(descending=True)
    values = theirs[f"{name}eigenvalues"][order].double()
    torch.testing.assert_close(found[1], values, rtol=1e-5, atol=1e-5 * float(values.max()))
    cosines = (found[0] * theirs[f"{name}boundaries"][order].double()).sum(1).abs()
    assert cosines.min() > 1 - 1e-4


@pytest.mark.parametrize("layers", ["all", "0-3", "4,6,9"])
def test_stylegan2_has_the_official_directions(shared: Shared, layers: str) -> None:
    theirs = golden(shared)
    found = factorise(official_stylegan2(shared), layers)
    check_same((found.directions, found.strengths), theirs, f"sg2/{layers.replace(',', '_')}/")
    assert found.layers == layers


def test_bare_weights_have_the_official_directions(shared: Shared) -> None:
    theirs = golden(shared)
    weights = [theirs[f"sg1/style_weight_{i}"] for i in range(8)]
    check_same(factorise_weights(weights), theirs, "sg1/all/")


def test_directions_are_orthonormal_sorted_and_of_fixed_sign() -> None:
    weights = [torch.randn(20, 6, generator=torch.Generator().manual_seed(1))]
    directions, strengths = factorise_weights(weights)
    torch.testing.assert_close(directions @ directions.T, torch.eye(6).double())
    assert (strengths.diff() <= 0).all()
    assert (directions.gather(1, directions.abs().argmax(1, keepdim=True)) > 0).all()


def test_the_strongest_direction_is_the_one_that_channels_share() -> None:
    weight = torch.tensor([[3.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    directions, strengths = factorise_weights([weight])
    torch.testing.assert_close(strengths, torch.tensor([2.0, 1.0, 0.0]).double())
    torch.testing.assert_close(directions[0], torch.tensor([1.0, 0.0, 0.0]).double())


def test_mobile_stylegan_has_a_weight_for_each_row() -> None:
    generator = MobileStyleGAN(channels=(8, 8, 8, 4), w_dim=16, mapping_layers=1)
    rng = torch.Generator().manual_seed(0)
    for parameter in generator.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng))
    assert len(style_weights(generator)) == generator.num_ws
    every, first = factorise(generator), factorise(generator, "0")
    assert every.directions.shape == (16, 16)
    torch.testing.assert_close(
        first.strengths, factorise_weights([generator.stem.modulation.weight])[1]
    )


def test_the_row_a_weight_is_named_for_is_the_row_that_it_reads() -> None:
    generator = MobileStyleGAN(channels=(8, 8, 4), w_dim=16, mapping_layers=1)
    rng = torch.Generator().manual_seed(0)
    for parameter in generator.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=rng))
    w_plus = torch.randn(1, generator.num_ws, 16, generator=rng)
    before = generator.synthesis(w_plus)
    for row, weight in enumerate(style_weights(generator)):
        # the direction that this row's affine layer ignores
        kernel = torch.linalg.svd(weight.double())[2][-1]
        unseen = w_plus.clone()
        unseen[0, row] += kernel.float()
        torch.testing.assert_close(generator.synthesis(unseen), before, rtol=1e-3, atol=1e-3)


def test_an_edit_moves_the_named_rows_alone() -> None:
    w_plus = torch.zeros(2, 4, 3)
    moved = EDITORS["sefa"](w_plus, torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1.0, -2.0]), "1-2")
    assert moved[:, (0, 3)].abs().max() == 0
    assert moved[0, 1].tolist() == [0, 1, 0]
    assert moved[1, 2].tolist() == [0, -2, 0]
    assert EDITORS["sefa"] is sefa.edit


def test_another_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="factorise_weights"):
        factorise(ToyGenerator())
