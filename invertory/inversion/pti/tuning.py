"""What moves a generator's weights for one picture, and what judges the change that was stored.

The objectives of pivotal tuning; see pti.py for the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from invertory.generators.deltas import DELTA, DOWN, UP
from invertory.generators.state import synthesised
from invertory.inversion.engine.objective import Free, Start, Still, Tensors
from invertory.inversion.engine.view import View
from invertory.inversion.pti.locality import latent_draws, locality

if TYPE_CHECKING:
    from torch import Tensor

    from invertory.inversion.optimisation import Weighing

_DRAWS = "locality.w"  # constant: a drawn w for each step


@dataclass(frozen=True, slots=True)
class Tuning(Free):
    """eq. 3, and eq. 7 with the regulariser: changes of weights as variables, the pivot held."""

    method: Weighing
    weights: Mapping[str, float]  # term => weight; locality is computed only where it is named
    view: View
    weights_by_name: Mapping[str, Tensor]  # that are tuned
    rank: int
    iterate: ClassVar[Literal["best", "last"]] = "best"

    @property
    def results(self) -> tuple[str, ...]:
        forms = (UP, DOWN) if self.rank else (DELTA,)
        return tuple(name + form for name in self.weights_by_name for form in forms)

    def start(self, targets: Tensor, seeds: Sequence[int]) -> Start:
        """No change yet: `up` and whole changes are 0; `down` is drawn from the row's seed."""
        rows = [self._unchanged(seed) for seed in seeds]
        variables = {k: torch.stack([row[k] for row in rows]).to(targets) for k in rows[0]}
        constants = self.view.constants(targets)
        if "locality" in self.weights:
            draws = latent_draws(self.view.generator, seeds, max(self.method.steps, 1))
            constants[_DRAWS] = draws
        return Start(variables, constants)

    def _unchanged(self, seed: int) -> Tensors:
        rng = torch.Generator().manual_seed(seed)
        found: Tensors = {}
        for name, weight in self.weights_by_name.items():
            if not self.rank:
                found[name + DELTA] = torch.zeros(weight.shape)
                continue
            first, rest = len(weight), weight[0].numel()
            rank = min(self.rank, first, rest)
            found[name + UP] = torch.zeros(first, rank)
            found[name + DOWN] = torch.randn(rank, rest, generator=rng) / rank**0.5
        return found

    def state(self, variables: Tensors) -> Tensors:
        """The changes themselves: `down` is in units of the kernel's deviation from 0."""
        state = {}
        for name in self.results:
            state[name] = variables[name]
            if name.endswith(DOWN):
                weight = self.weights_by_name[name.removesuffix(DOWN)]
                state[name] = state[name] * weight.square().mean().sqrt().to(state[name])
        return state

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        # the pivot is a variable only to come along: without a gradient Adam leaves it alone
        w_plus = variables["w_plus"].detach().expand(-1, self.view.generator.num_ws, -1)
        state = self.state(variables)
        synth = self.view.resize(synthesised(self.view.generator, w_plus, state))
        terms = self.view.compare(synth, constants)
        if _DRAWS in constants:
            row = torch.arange(len(step), device=step.device)
            drawn = constants[_DRAWS][row, step.clamp(max=self.method.steps - 1)]
            terms["locality"] = locality(self.view, w_plus, drawn, state)
        return terms

    def learning_rate(self, step: Tensor) -> Tensor:
        return self.method.rate(step)


@dataclass(frozen=True, slots=True)
class Stored(Still):
    """The objective of no steps: how alike the picture is that the store gives."""

    view: View
    results: ClassVar[tuple[str, ...]] = ("w_plus",)
    weights: ClassVar[Mapping[str, float]] = {"mse": 1.0, "perceptual": 1.0}

    def start(self, targets: Tensor, seeds: Sequence[int]) -> Start:
        return Start({}, self.view.constants(targets))

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        w_plus = variables["w_plus"].expand(-1, self.view.generator.num_ws, -1)
        state = {name: values for name, values in variables.items() if name != "w_plus"}
        synth = self.view.resize(synthesised(self.view.generator, w_plus, state))
        return self.view.compare(synth, constants)
