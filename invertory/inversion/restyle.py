"""ReStyle: a few passes of an encoder, each adding to the latent what the picture still lacks.

ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement, Alaluf et al. 2021,
https://arxiv.org/abs/2104.02699. It starts from the mean latent and its picture. As published the
network sees picture and reconstruction side by side (`invertory/training/restyle.py` trains it).
Over any other encoder E of ours, which is ours: w <- w + E(x) - E(G(w)), what E tells apart.

As published the last iteration is the result; `keep: best` takes each row's best.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal, cast

import torch

from invertory.inversion import NO_NETWORKS
from invertory.inversion.adam import per_row
from invertory.inversion.encoded import Judging, OnePass, encoder_of
from invertory.inversion.engine import Engine
from invertory.inversion.objective import Start, Tensors
from invertory.inversion.view import View, squared_error

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.encoders import Encoder
    from invertory.encoders.pyramid import PyramidEncoder
    from invertory.generators import Generator
    from invertory.inversion import Inversion
    from invertory.perceptual import Perceptual

Over = Literal["restyle", "encoder", "e4e", "psp"]
Added = Callable[["Tensor"], "Tensor"]  # pictures so far [N, 3, H, H] => added, [N, num_ws, w_dim]
Render = Callable[["Tensor"], "Tensor"]  # w_plus => pictures


def refined(added: Added, render: Render, w_plus: Tensor, iterations: int) -> Iterator[Tensor]:
    """w_plus [N, num_ws, w_dim], equal rows of a batch => the latents after each iteration.

    Where what is added is no number the latent stays.
    """
    synth = render(w_plus[:1]).expand(len(w_plus), -1, -1, -1)
    for i in range(iterations):
        moved = w_plus + added(synth)
        is_finite = torch.isfinite(moved).all(2).all(1)
        w_plus = torch.where(per_row(is_finite, moved), moved, w_plus)
        yield w_plus
        if i < iterations - 1:
            synth = render(w_plus)


@dataclass(frozen=True, slots=True)
class _Refinement(Judging):
    """The objective of no steps: all iterations are its start."""

    method: ReStyle
    view: View
    encoder: Encoder
    results: ClassVar[tuple[str, ...]] = ("w_plus", "iteration")

    def start(self, targets: Tensor, seeds: Sequence[int]) -> Start:
        G, constants = self.view.generator, self.view.constants(targets)
        mean = G.w_avg.float().expand(len(targets), G.num_ws, -1)
        kept: Tensors = {}
        latents = refined(self._added(targets), self.view.render, mean, self.method.iterations)
        for i, w_plus in enumerate(latents, 1):
            is_last = i == self.method.iterations
            if is_last or self.method.keep == "best":
                kept = self._better(kept, self._measured(w_plus, constants, i))
        variables = {name: kept.pop(name) for name in self.results}
        return Start(variables, kept)

    def _added(self, targets: Tensor) -> Added:
        if self.method.over == "restyle":
            network = cast("PyramidEncoder", self.encoder)
            return lambda synth: network.residual(targets, synth)
        told = self.encoder(targets)
        return lambda synth: told - self.encoder(synth)

    def _measured(self, w_plus: Tensor, constants: Tensors, iteration: int) -> Tensors:
        """The iterate with its losses, each [n, ...]."""
        synth = self.view.render(w_plus)
        return {
            "w_plus": w_plus,
            "iteration": w_plus.new_full((len(w_plus),), iteration),
            "mse": squared_error(synth, constants),
            "perceptual": self.view.distance(synth, constants).float(),
        }

    def _better(self, kept: Tensors, found: Tensors) -> Tensors:
        """Row by row the one of the lesser loss."""
        if not kept:
            return found
        is_better = self._total(found) < self._total(kept)
        return {k: torch.where(per_row(is_better, v), v, kept[k]) for k, v in found.items()}

    def _total(self, terms: Tensors) -> Tensor:
        return torch.stack([w * terms[name] for name, w in self.weights.items()]).sum(0)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        return {name: constants[name] for name in self.weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReStyle(OnePass):
    """Iterative refinement. Without draws: the seeds change nothing."""

    over: Over = field(
        default="restyle",
        metadata={"description": "kind of the network: restyle, or encoder, e4e, psp refined"},
    )
    iterations: int = field(default=5, metadata={"description": "passes, from 1"})
    keep: Literal["last", "best"] = field(
        default="last", metadata={"description": "last, as published; best: each row's best"}
    )
    restyle: str = field(
        default="auto",
        metadata={"description": "address of ReStyle's encoder; auto: the one for this generator"},
    )
    encoder: str = field(
        default="auto", metadata={"description": "address of the encoder, where `over` says so"}
    )
    e4e: str = field(
        default="auto", metadata={"description": "address of e4e's, where `over` says so"}
    )
    psp: str = field(
        default="auto", metadata={"description": "address of pSp's, where `over` says so"}
    )

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"expected iterations from 1, got {self.iterations}")

    @property
    def needs(self) -> tuple[str, ...]:
        """The kind that `over` names."""
        return (self.over,)

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
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`.

        `steps` are the iterations, `best_step` the one that was kept, `loss` its loss.
        """
        view = View.of(generator, perceptual, targets, preview=self.preview, max_px=self.loss_px)
        encoder = encoder_of(networks, generator, self.over)
        if self.over == "restyle" and getattr(encoder, "input_channels", 3) != 6:
            raise ValueError(
                "expected a network of six input channels as 'restyle', got one of three: name "
                "ReStyle's own, or say `over: encoder` to refine this one"
            )
        outcome = Engine(steps=0, precision=self.precision).run(
            _Refinement(self, view, encoder), targets, seeds=seeds, batch_size=batch_size
        )
        found = outcome.inversion(self.space, outcome.variables["w_plus"])
        return replace(
            found,
            steps=torch.full_like(found.steps, self.iterations),
            best_step=outcome.variables["iteration"].long(),
        )
