"""The projector matches NVIDIA's step by step, with the same random draws."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import avg_pool2d

from invertory.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Tensors
from invertory.inversion.projector import Projector, ProjectorObjective, Shapes
from invertory.inversion.w_space import w_statistics

Golden = dict[str, np.ndarray[Any, Any]]
Shared = Callable[[str], Path]


class BlockMeans:
    """The features of the reference run: means of 4 x 4 px, times 0.1."""

    name = "block_means"

    def features(self, x: Tensor) -> list[Tensor]:
        return [avg_pool2d(x, 4).flatten(1) * 0.1]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        return (fa[0] - fb[0]).square().sum(1)


@dataclass(frozen=True)
class Traced(ProjectorObjective):
    """Records the variables and the terms of every evaluation."""

    path: list[Tensors] = field(default_factory=list)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        terms = ProjectorObjective.losses(self, variables, constants, step)
        seen = variables | terms
        self.path.append({name: value.detach().clone() for name, value in seen.items()})
        return terms


@pytest.fixture(scope="module")
def golden(shared: Shared) -> Golden:
    return dict(np.load(shared("data/golden/stylegan2_ada_projector/project_12steps.npz")))


@pytest.fixture(scope="module")
def generator(shared: Shared) -> StyleGAN2:
    folder = shared("data/golden/stylegan2_ada")
    init_kwargs = json.loads((folder / "variants.json").read_text())["m2"]["init_kwargs"]
    config = StyleGAN2Config.from_nvidia(init_kwargs)
    return StyleGAN2.load(load_file(folder / "m2.safetensors"), asdict(config))


def trace(golden: Golden, generator: StyleGAN2, noise_weight: float, rows: int) -> list[Tensors]:
    """Every iterate of `rows` equal rows; the last one is that after every step."""

    def stored(seed: int, shapes: Shapes) -> Tensors:
        maps = [name for name in shapes if name.endswith("noise_const")]
        draws = {name: torch.from_numpy(golden[f"draw_noise_init/{name}"])[None] for name in maps}
        return draws | {"w_noise": torch.from_numpy(golden["draw_w_noise"])[:, 0]}

    targets = torch.from_numpy(golden["target"]).float().expand(rows, -1, -1, -1) / 127.5 - 1
    steps = len(golden["draw_w_noise"])
    method = Projector(steps=steps, w_samples=500, noise_weight=noise_weight)
    made = method.objective(generator, targets, BlockMeans(), draw=stored)
    objective = Traced(made.method, made.view, made.w_avg, made.w_std, made.map_shapes, made.draw)
    Engine(steps=steps).run(objective, targets, seeds=[0] * rows, batch_size=rows)
    return objective.path


def test_the_statistics_of_w_are_the_references(golden: Golden, generator: StyleGAN2) -> None:
    # in float64, so that only the rounding of the reference itself is left (4e-7)
    w_avg, w_std = w_statistics(deepcopy(generator).double(), 500)
    np.testing.assert_allclose(w_avg, golden["w0"][0, 0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(w_std, golden["w_std"], rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize(("run", "weight"), [("reg", 1e5), ("noreg", 0.0)])
def test_every_step_is_the_references(
    golden: Golden, generator: StyleGAN2, run: str, weight: float, rows: int
) -> None:
    path = trace(golden, generator, weight, rows)
    w = torch.stack([seen["w"][-1] for seen in path[1:]])
    expected = torch.from_numpy(golden[f"{run}/w_out"])
    torch.testing.assert_close(w.expand_as(expected), expected, rtol=0, atol=1e-4)
    loss = [float(seen["perceptual"][-1] + weight * seen["noise"][-1]) for seen in path[:-1]]
    np.testing.assert_allclose(loss, golden[f"{run}/loss"], rtol=1e-4)


@pytest.mark.parametrize(("run", "weight"), [("reg", 1e5), ("noreg", 0.0)])
def test_the_noise_maps_end_as_the_references(
    golden: Golden, generator: StyleGAN2, run: str, weight: float
) -> None:
    last = trace(golden, generator, weight, rows=1)[-1]
    names = [name for name in golden if name.startswith(f"{run}/noise_final/")]
    assert len(names) == 9
    for name in names:
        found = last["noise." + name.rsplit("/", 1)[-1]][0, 0]
        np.testing.assert_allclose(found, golden[name], rtol=0, atol=1e-2)
