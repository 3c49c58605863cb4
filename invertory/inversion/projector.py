"""The StyleGAN2 projector: Analyzing and Improving the Image Quality of StyleGAN, Karras 2020.

https://arxiv.org/abs/1912.04958, appendix D. A latent in W starts at the mean w, explores with
fading noise, and follows a perceptual loss; the generator's noise maps are optimised with it and
kept free of signal. Matches NVIDIA's stylegan2-ada-pytorch numerically, including the last iterate
as the result. The noise maps are dropped: a latent stands for the image with the generator's own
constant noise, so `loss` may be lower than the loss of that image.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor, nn

from invertory.generators.state import synthesise
from invertory.inversion.engine.adam import per_row
from invertory.inversion.engine.objective import Rows, Start, Tensors
from invertory.inversion.engine.view import View
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.noise_maps import Shapes, autocorrelation, noise_shapes, standardise
from invertory.inversion.optimisation import Budget, Schedule
from invertory.inversion.w_space import w_statistics

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual

Draw = Callable[[int, Shapes], Tensors]
_W_NOISE, _MAP = "w_noise", "noise."  # name of the draws for w; prefix of the maps' names


def draw_normal(seed: int, shapes: Shapes) -> Tensors:
    """Draw one row's standard normal values from its seed alone, on the CPU."""
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}


@dataclass(frozen=True, slots=True)
class ProjectorObjective:
    """The projector's objective; `draw` gives a row's random numbers."""

    method: Projector
    view: View
    w_avg: Tensor  # [w_dim]
    w_std: Tensor  # [] over samples, all dimensions together
    map_shapes: Shapes  # noise map => (1, H, W)
    draw: Draw = draw_normal
    iterate: ClassVar[Literal["best", "last"]] = "last"
    results: ClassVar[tuple[str, ...]] = ("w",)

    @property
    def weights(self) -> Mapping[str, float]:
        return {"perceptual": 1.0, "noise": self.method.noise_weight}

    def start(self, rows: Rows) -> Start:
        """w [n, 1, w_dim] at the mean, noise maps [n, 1, H, W] of unit variance, and all draws."""
        shapes = self.map_shapes | {_W_NOISE: (self.method.steps, 1, len(self.w_avg))}
        row_draws = [self.draw(seed, shapes) for seed in rows.seeds]
        device = rows.targets.device
        draws = {name: torch.stack([row[name] for row in row_draws]).to(device) for name in shapes}
        w_noise = draws.pop(_W_NOISE)
        variables = {"w": self.w_avg.expand(len(rows), 1, -1)}
        variables |= {_MAP + name: noise for name, noise in draws.items()}
        return Start(variables, self.view.constants(rows.targets) | {_W_NOISE: w_noise})

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        w = variables["w"] + self._w_noise(constants[_W_NOISE], step)
        w_plus = w.expand(-1, self.view.generator.num_ws, -1)
        maps = {k.removeprefix(_MAP): v for k, v in variables.items() if k.startswith(_MAP)}
        synth = self._render(w_plus, maps)
        roughness = [autocorrelation(noise) for noise in maps.values()]
        return {
            "perceptual": self.view.distance(synth, constants),
            "noise": torch.stack([*roughness, torch.zeros_like(step, dtype=w.dtype)]).sum(0),
        }

    def _render(self, w_plus: Tensor, maps: Tensors) -> Tensor:
        if not maps:
            return self.view.render(w_plus)
        return self.view.resize(synthesise(self.view.generator, w_plus, maps))

    def _w_noise(self, draws: Tensor, step: Tensor) -> Tensor:
        """Exploration: w_noise * std(w) * max(0, 1 - t / noise_ramp)^2 times the step's draw."""
        method = self.method
        if method.steps == 0:
            return torch.zeros_like(self.w_avg)
        t = step.double() / method.steps
        size = method.w_noise * self.w_std * (1 - t / method.noise_ramp).clamp(min=0).square()
        noise = draws[torch.arange(len(step), device=step.device), step.clamp(max=method.steps - 1)]
        return noise * per_row(size.to(noise.dtype), noise)

    def learning_rate(self, step: Tensor) -> Tensor:
        return self.method.rate(step)

    def settle(self, variables: Tensors) -> Tensors:
        """Normalise each row's noise maps to mean 0 and variance 1."""
        return {k: standardise(v) for k, v in variables.items() if k.startswith(_MAP)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Projector(Budget):
    """Optimise one w per image."""

    space: ClassVar[Space] = "w"
    terms: ClassVar[tuple[str, ...]] = ("perceptual", "noise")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    needs: ClassVar[tuple[str, ...]] = ()

    learning_rate: float = field(default=0.1, metadata={"description": "Adam's rate at its peak"})
    schedule: Schedule = field(
        default="ramp", metadata={"description": "constant, or the paper's ramp up and down"}
    )
    w_noise: float = field(
        default=0.05,
        metadata={"description": "exploration at the start, in standard deviations of w"},
    )
    noise_ramp: float = field(
        default=0.75,
        metadata={
            "description": "share of steps over which the exploration fades",
            "applies": (("w_noise", "!=", 0),),
        },
    )
    w_samples: int = field(
        default=10_000, metadata={"description": "number of draws for the mean and deviation of w"}
    )
    noise_weight: float = field(
        default=1e5,
        metadata={
            "description": "weight of the autocorrelation of the noise maps",
            "applies": (("noise_maps", "==", True), ("preview", "==", False)),
        },
    )
    noise_maps: bool = field(
        default=True,
        metadata={
            "description": "optimise StyleGAN2's noise maps (not in previews)",
            "applies": (("preview", "==", False),),
        },
    )

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, 1, w_dim]; see `Method`."""
        objective = self.objective(generator, targets, perceptual)
        outcome = self.engine().run(objective, targets, seeds=seeds, batch_size=batch_size)
        return outcome.inversion(self.space, outcome.results["w"])

    def objective(
        self,
        generator: Generator,
        targets: Tensor,
        perceptual: Perceptual,
        draw: Draw = draw_normal,
    ) -> ProjectorObjective:
        """Build the objective for these targets, with the statistics of the generator's w."""
        view = self.view(generator, perceptual, targets)
        w_avg, w_std = w_statistics(generator, self.w_samples)
        shapes = noise_shapes(generator) if self.noise_maps and not self.preview else {}
        return ProjectorObjective(self, view, w_avg, w_std, shapes, draw)
