"""The objectives of pivotal tuning: tuning the weights, and measuring the stored change.

See method.py for the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from invertory.generators.deltas import DELTA, DOWN, UP
from invertory.generators.state import synthesise
from invertory.inversion.engine.objective import (
    Rows,
    Start,
    Tensors,
    Unconstrained,
    ZeroStepObjective,
)
from invertory.inversion.engine.view import View
from invertory.inversion.pti.locality import latent_draws, locality

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.inversion.optimisation import LossWeights

_DRAWS = "locality.w"  # constant: one drawn w for each step


@dataclass(frozen=True, slots=True)
class TuningObjective(Unconstrained):
    """eq. 3, or eq. 7 with the regulariser, over the changes of the weights.

    The pivot is the row's input `w_plus`.
    """

    method: LossWeights
    weights: Mapping[str, float]  # term => weight; locality is computed only if it is present
    view: View
    weights_by_name: Mapping[str, Tensor]  # name => weight to tune
    rank: int
    iterate: ClassVar[Literal["best", "last"]] = "best"

    @property
    def results(self) -> tuple[str, ...]:
        forms = (UP, DOWN) if self.rank else (DELTA,)
        return tuple(name + form for name in self.weights_by_name for form in forms)

    def start(self, rows: Rows) -> Start:
        """Start from no change: `up` and whole changes are 0; `down` comes from the row's seed."""
        G, targets = self.view.generator, rows.targets
        none = [self._unchanged(seed) for seed in rows.seeds]
        variables = {k: torch.stack([row[k] for row in none]).to(targets) for k in none[0]}
        pivots = rows.inputs["w_plus"].expand(-1, G.num_ws, -1)
        constants = self.view.constants(targets) | {"w_plus": pivots}
        if "locality" in self.weights:
            draws = latent_draws(G, rows.seeds, max(self.method.steps, 1))
            constants[_DRAWS] = draws
        return Start(variables, constants)

    def _unchanged(self, seed: int) -> Tensors:
        rng = torch.Generator().manual_seed(seed)
        variables: Tensors = {}
        for name, weight in self.weights_by_name.items():
            if not self.rank:
                variables[name + DELTA] = torch.zeros(weight.shape)
                continue
            first, rest = len(weight), weight[0].numel()
            rank = min(self.rank, first, rest)
            variables[name + UP] = torch.zeros(first, rank)
            variables[name + DOWN] = torch.randn(rank, rest, generator=rng) / rank**0.5
        return variables

    def state(self, variables: Tensors) -> Tensors:
        """Convert variables to changes: `down` is in units of the kernel's root mean square."""
        state = {}
        for name in self.results:
            state[name] = variables[name]
            if name.endswith(DOWN):
                weight = self.weights_by_name[name.removesuffix(DOWN)]
                state[name] = state[name] * weight.square().mean().sqrt().to(state[name])
        return state

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        w_plus = constants["w_plus"]
        state = self.state(variables)
        synth = self.view.resize(synthesise(self.view.generator, w_plus, state))
        terms = self.view.compare(synth, constants)
        if _DRAWS in constants:
            row = torch.arange(len(step), device=step.device)
            w = constants[_DRAWS][row, step.clamp(max=self.method.steps - 1)]
            terms["locality"] = locality(self.view, w_plus, w, state)
        return terms

    def learning_rate(self, step: Tensor) -> Tensor:
        return self.method.rate(step)


@dataclass(frozen=True, slots=True)
class StoredObjective(ZeroStepObjective):
    """The objective without steps that measures the image drawn from the store.

    The row's inputs are the latent, `w_plus`, and its decoded state.
    """

    view: View
    results: ClassVar[tuple[str, ...]] = ()
    weights: ClassVar[Mapping[str, float]] = {"mse": 1.0, "perceptual": 1.0}

    def start(self, rows: Rows) -> Start:
        state = dict(rows.inputs)
        synth = self.render(state.pop("w_plus"), state)
        return Start({}, self.view.constants(rows.targets) | {"synth": synth})

    def render(self, w_plus: Tensor, state: Tensors) -> Tensor:
        """w_plus [n, 1 or num_ws, w_dim] and its state => the image that the loss compares."""
        w_plus = w_plus.expand(-1, self.view.generator.num_ws, -1)
        return self.view.resize(synthesise(self.view.generator, w_plus, state))

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        return self.view.compare(constants["synth"], constants)
