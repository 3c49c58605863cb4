"""The StyleGAN2 projector: Analyzing and Improving the Image Quality of StyleGAN, Karras 2020.

https://arxiv.org/abs/1912.04958, appendix D. A latent in W starts at the mean w, is explored with
noise that fades, and follows a perceptual loss; the generator's noise maps are optimised with it
and kept free of signal. Matches the numbers of NVIDIA's stylegan2-ada-pytorch. The last iterate is
the result, as there. The noise maps are dropped: a latent names one picture, that of the
generator's own constant noise, so `loss` may be lower than that picture's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import avg_pool2d

from invertory.inversion.adam import per_row
from invertory.inversion.engine import Engine, Precision
from invertory.inversion.objective import Start, Tensors
from invertory.inversion.view import View, ramp

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.inversion import Inversion, Space
    from invertory.perceptual import Perceptual

Shapes = dict[str, tuple[int, ...]]
Draw = Callable[[int, Shapes], Tensors]
_W_NOISE, _MAP = "w_noise", "noise."  # name of the draws for w; prefix of the maps' names


def draw_normal(seed: int, shapes: Shapes) -> Tensors:
    """Standard normal draws of one row, from its seed alone; on the CPU."""
    rng = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=rng) for name, shape in shapes.items()}


@dataclass(frozen=True, slots=True)
class ProjectorObjective:
    """What the engine runs; `draw` gives a row's random numbers."""

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

    def start(self, targets: Tensor, seeds: Sequence[int]) -> Start:
        """w [n, 1, w_dim] at the mean, noise maps [n, 1, H, W] of unit variance, all draws."""
        shapes = self.map_shapes | {_W_NOISE: (self.method.steps, 1, len(self.w_avg))}
        rows = [self.draw(seed, shapes) for seed in seeds]
        draws = {
            name: torch.stack([row[name] for row in rows]).to(targets.device) for name in shapes
        }
        w_noise = draws.pop(_W_NOISE)
        variables = {"w": self.w_avg.expand(len(targets), 1, -1)}
        variables |= {_MAP + name: noise for name, noise in draws.items()}
        return Start(variables, self.view.constants(targets) | {_W_NOISE: w_noise})

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
        synthesis = self.view.generator.synthesis
        if not maps or not isinstance(synthesis, nn.Module):
            return self.view.render(w_plus)
        # the rows' maps stand in for the buffers [H, W] and broadcast over channels
        return self.view.resize(functional_call(synthesis, maps, (w_plus,)))

    def _w_noise(self, draws: Tensor, step: Tensor) -> Tensor:
        """Exploration: w_noise * std(w) * max(0, 1 - t / noise_ramp)^2 times the step's draw."""
        method = self.method
        if method.steps == 0:
            return torch.zeros_like(self.w_avg)
        t = step.double() / method.steps
        size = method.w_noise * self.w_std * (1 - t / method.noise_ramp).clamp(min=0).square()
        drawn = draws[torch.arange(len(step), device=step.device), step.clamp(max=method.steps - 1)]
        return drawn * per_row(size.to(drawn.dtype), drawn)

    def learning_rate(self, step: Tensor) -> Tensor:
        method = self.method
        rise = ramp(step, method.steps, up=method.rampup, down=method.rampdown)
        return method.learning_rate * rise

    def settle(self, variables: Tensors) -> Tensors:
        """Noise maps back to mean 0 and variance 1, each row's by itself."""
        return {k: standardised(v) for k, v in variables.items() if k.startswith(_MAP)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Projector:
    """Optimise one w per picture."""

    space: ClassVar[Space] = "w"
    terms: ClassVar[tuple[str, ...]] = ("perceptual", "noise")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"

    steps: int = field(default=1000, metadata={"description": "Adam steps per picture"})
    learning_rate: float = field(default=0.1, metadata={"description": "Adam's rate at its peak"})
    rampup: float = field(default=0.05, metadata={"description": "share of steps going up"})
    rampdown: float = field(default=0.25, metadata={"description": "share of steps going down"})
    w_noise: float = field(
        default=0.05, metadata={"description": "exploration at the start, in deviations of w"}
    )
    noise_ramp: float = field(
        default=0.75, metadata={"description": "share of steps over which exploration fades"}
    )
    w_samples: int = field(
        default=10_000, metadata={"description": "draws behind the mean and deviation of w"}
    )
    noise_weight: float = field(
        default=1e5, metadata={"description": "of the autocorrelation of the noise maps"}
    )
    noise_maps: bool = field(
        default=True, metadata={"description": "optimise StyleGAN2's noise maps (not in previews)"}
    )
    preview: bool = field(
        default=False, metadata={"description": "compare the preview, not the full picture"}
    )
    loss_px: int = field(
        default=256, metadata={"description": "most pixels a side that the loss sees"}
    )
    target_loss: float | None = field(
        default=None, metadata={"description": "stop a picture at this loss; none: never"}
    )
    precision: Precision = field(
        default="float32", metadata={"description": "bf16: autocast networks"}
    )

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, 1, w_dim]; see `Method`."""
        objective = self.objective(generator, targets, perceptual)
        engine = Engine(steps=self.steps, target_loss=self.target_loss, precision=self.precision)
        outcome = engine.run(objective, targets, seeds=seeds, batch_size=batch_size)
        return outcome.inversion(self.space, outcome.variables["w"])

    def objective(
        self,
        generator: Generator,
        targets: Tensor,
        perceptual: Perceptual,
        draw: Draw = draw_normal,
    ) -> ProjectorObjective:
        """The objective for these targets, with the statistics of the generator's w."""
        view = View.of(generator, perceptual, targets, preview=self.preview, max_px=self.loss_px)
        w_avg, w_std = w_statistics(generator, self.w_samples)
        shapes = noise_shapes(generator) if self.noise_maps and not self.preview else {}
        return ProjectorObjective(self, view, w_avg, w_std, shapes, draw)


def noise_shapes(generator: Generator) -> Shapes:
    """Noise maps that can be replaced => (1, H, W): StyleGAN2's buffers `noise_const`."""
    synthesis = generator.synthesis
    if not isinstance(synthesis, nn.Module):
        return {}
    buffers = dict(synthesis.named_buffers())
    return {k: (1, *v.shape) for k, v in buffers.items() if k.endswith("noise_const")}


def w_statistics(generator: Generator, num_samples: int) -> tuple[Tensor, Tensor]:
    """Mean w [w_dim] and root mean square distance [] from it, of mapped draws of seed 123."""
    z = np.random.RandomState(123).randn(num_samples, generator.z_dim)
    with torch.no_grad():
        w = generator.mapping(torch.from_numpy(z).to(generator.w_avg)).double()
    w_avg = w.mean(0)
    # the distance is a vector's: summed over dimensions, averaged over draws
    w_std = ((w - w_avg).square().sum() / num_samples).sqrt()
    return w_avg.to(generator.w_avg.dtype), w_std.to(generator.w_avg.dtype)


def autocorrelation(noise: Tensor) -> Tensor:
    """noise [n, 1, H, H] => [n]; appendix D: squared mean product with the neighbour pixel, both
    ways, from the full resolution by halves down to 8 px.
    """
    total = torch.zeros(len(noise), dtype=noise.dtype, device=noise.device)
    while True:
        for axis in (2, 3):
            product = (noise * noise.roll(1, axis)).mean((1, 2, 3))
            total = total + product.square()
        if noise.shape[-1] <= 8:
            return total
        noise = avg_pool2d(noise, 2)


def standardised(noise: Tensor) -> Tensor:
    """Each row's map with mean 0 and mean square 1."""
    centred = noise - noise.mean((1, 2, 3), keepdim=True)
    return centred * centred.square().mean((1, 2, 3), keepdim=True).rsqrt()
