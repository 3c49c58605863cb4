"""ReStyle: a few passes of an encoder, each adding to the latent what the picture still lacks.

ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement, Alaluf et al. 2021,
https://arxiv.org/abs/2104.02699. As published the network sees picture and reconstruction side by
side (`invertory/training/pyramid/restyle.py` trains it), starts from the mean latent and its
picture, and the last iteration is the result. It goes no further down than the passes it was
trained with (its card's `iterations`).

Over any other encoder E, which is ours: from w = E(x), w <- w + step (E(x) - E(G(w))), which is
what E tells apart. E knows one picture, not a pair, so that rows get worse in time: each row's
best iterate by the weighted loss is the result, E(x) among them. A pass costs a code and a picture,
and a perceptual distance to judge it: about as much as E(x) with its loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Final, Literal, cast

import torch

from invertory.inversion.engine.adam import per_row
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Rows, Start, Tensors, weighted_total
from invertory.inversion.engine.view import View, squared_error
from invertory.inversion.feed_forward import Judging, OnePass, encoder_of, settled
from invertory.inversion.method import NO_NETWORKS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.encoders import Encoder
    from invertory.encoders.pyramid import PyramidEncoder
    from invertory.generators import Generator
    from invertory.inversion.method import Inversion
    from invertory.perceptual import Perceptual

Over = Literal["restyle", "encoder", "e4e", "psp"]
Keep = Literal["auto", "last", "best"]
Added = Callable[["Tensor"], "Tensor"]  # pictures so far [N, 3, H, H] => added, [N, num_ws, w_dim]
Render = Callable[["Tensor"], "Tensor"]  # w_plus => pictures
HALF: Final = 0.5  # step over another encoder


def refined(added: Added, render: Render, w_plus: Tensor, iterations: int) -> Iterator[Tensor]:
    """w_plus [N, num_ws, w_dim], equal rows of a batch => the latents after each iteration.

    Where what is added is no number the latent stays.
    """
    synth = render(w_plus[:1]).expand(len(w_plus), -1, -1, -1)
    for i in range(iterations):
        w_plus = _moved(w_plus, added(synth))
        yield w_plus
        if i < iterations - 1:
            synth = render(w_plus)


def _moved(w_plus: Tensor, by: Tensor) -> Tensor:
    moved = w_plus + by
    is_finite = torch.isfinite(moved).all(2).all(1)
    return torch.where(per_row(is_finite, moved), moved, w_plus)


@dataclass(frozen=True, slots=True)
class _Refinement(Judging):
    """The objective of no steps: all iterations are its start."""

    method: ReStyle
    view: View
    encoder: Encoder
    results: ClassVar[tuple[str, ...]] = ("w_plus", "iteration")

    def start(self, rows: Rows) -> Start:
        method, constants = self.method, self.view.constants(rows.targets)
        kept: Tensors = {}
        for i, (w_plus, synth) in self._iterates(rows.targets):
            if i == method.iterations or method.keeps_best:
                kept = self._better(kept, self._measured(w_plus, synth, constants, i))
        return Start({}, kept | {"w_plus": kept["w_plus"].float()})

    def _iterates(self, targets: Tensor) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
        """Iteration => latents and their pictures; 0 is the code of another encoder."""
        w_plus, added = self._begun(targets)
        if self.method.is_trained:
            synth = self.view.render(w_plus[:1]).expand(len(w_plus), -1, -1, -1)
        else:
            synth = self.view.render(w_plus)
            yield 0, (w_plus, synth)
        for i in range(1, self.method.iterations + 1):
            w_plus = _moved(w_plus, self.method.share * added(synth))
            synth = self.view.render(w_plus)
            yield i, (w_plus, synth)

    def _begun(self, targets: Tensor) -> tuple[Tensor, Added]:
        """The latents before the first iteration, and what each adds."""
        G = self.view.generator
        if self.method.is_trained:
            network = cast("PyramidEncoder", self.encoder)
            mean = G.w_avg.float().expand(len(targets), G.num_ws, -1)
            return mean, lambda synth: network.residual(targets, synth)
        told = self.encoder(targets).float()
        return settled(told, G), lambda synth: told - self.encoder(synth)

    def _measured(
        self, w_plus: Tensor, synth: Tensor, constants: Tensors, iteration: int
    ) -> Tensors:
        """The iterate with its losses, each [n, ...]."""
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
        """[n]; what is no number is worse than any."""
        total = weighted_total(self.weights, terms)
        return total.nan_to_num(nan=torch.inf, posinf=torch.inf)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        return {name: constants[name] for name in self.weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReStyle(OnePass):
    """Iterative refinement. Without draws: the seeds change nothing."""

    over: Over = field(
        default="restyle",
        metadata={"description": "kind of the network: restyle, or encoder, e4e, psp refined"},
    )
    iterations: int = field(
        default=5,
        metadata={
            "description": "passes, from 1; more than a network was trained with help little"
        },
    )
    step: float = field(
        default=0.0,
        metadata={"description": "share of what is added; 0: all of ReStyle's, half over others"},
    )
    keep: Keep = field(
        default="auto",
        metadata={
            "description": "last, as published; best: each row's best; auto: best over others"
        },
    )
    restyle: str = field(
        default="auto",
        metadata={
            "description": "address of ReStyle's encoder; auto: the one for this generator",
            "applies": (("over", "==", "restyle"),),
        },
    )
    encoder: str = field(
        default="auto",
        metadata={
            "description": "address of the encoder, where `over` says so",
            "applies": (("over", "==", "encoder"),),
        },
    )
    e4e: str = field(
        default="auto",
        metadata={
            "description": "address of e4e's, where `over` says so",
            "applies": (("over", "==", "e4e"),),
        },
    )
    psp: str = field(
        default="auto",
        metadata={
            "description": "address of pSp's, where `over` says so",
            "applies": (("over", "==", "psp"),),
        },
    )

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"expected iterations from 1, got {self.iterations}")
        if not 0 <= self.step < math.inf:
            raise ValueError(f"expected a step from 0, got {self.step}: 0 takes the usual one")

    @property
    def is_trained(self) -> bool:
        """Whether the network is ReStyle's own."""
        return self.over == "restyle"

    @property
    def keeps_best(self) -> bool:
        return self.keep == "best" or (self.keep == "auto" and not self.is_trained)

    @property
    def share(self) -> float:
        """Of what is added that is taken."""
        return self.step or (1.0 if self.is_trained else HALF)

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

        `steps` are the iterations, `best_step` the one that was kept (0: the encoder's own code),
        `loss` its loss.
        """
        view = View.of(generator, perceptual, targets, preview=self.preview, max_px=self.loss_px)
        encoder = encoder_of(networks, generator, self.over)
        if self.is_trained and getattr(encoder, "input_channels", 3) != 6:
            raise ValueError(
                "expected a network of six input channels as 'restyle', got one of three: name "
                "ReStyle's own, or say `over: encoder` to refine this one"
            )
        outcome = Engine(steps=0, precision=self.precision).run(
            _Refinement(self, view, encoder), targets, seeds=seeds, batch_size=batch_size
        )
        found = outcome.inversion(self.space, outcome.results["w_plus"])
        return replace(
            found,
            steps=torch.full_like(found.steps, self.iterations),
            best_step=outcome.results["iteration"].long(),
        )
