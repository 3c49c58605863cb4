"""ReStyle: several passes of an encoder, each adding a residual to the latent.

ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement, Alaluf et al. 2021,
https://arxiv.org/abs/2104.02699. As published, the network sees the image and the reconstruction
side by side (`invertory/training/pyramid/restyle.py` trains it), starts from the mean latent and
its image, and the last iteration is the result. More passes than it was trained with (its card's
`iterations`) improve little.

Our addition refines any other encoder E: from w = E(x), w <- w + step (E(x) - E(G(w))). E sees one
image, not a pair, so rows eventually get worse: the result is each row's best iterate by the
weighted loss, E(x) included. A pass costs one encoding, one synthesis and one perceptual distance,
about as much as E(x) with its loss.
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
from invertory.inversion.feed_forward import (
    FeedForwardObjective,
    SinglePassMethod,
    encoder_of,
    expand_finite,
)
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
ComputeResidual = Callable[
    ["Tensor"], "Tensor"
]  # images so far [N, 3, H, H] => residual [N, num_ws, w_dim]
Render = Callable[["Tensor"], "Tensor"]  # w_plus => images
HALF: Final = 0.5  # step over an encoder other than ReStyle's


def refine(
    compute_residual: ComputeResidual, render: Render, w_plus: Tensor, iterations: int
) -> Iterator[Tensor]:
    """w_plus [N, num_ws, w_dim], equal for all rows => the latents after each iteration.

    A row whose residual is not finite keeps its latent.
    """
    synth = render(w_plus[:1]).expand(len(w_plus), -1, -1, -1)
    for i in range(iterations):
        w_plus = _add_finite(w_plus, compute_residual(synth))
        yield w_plus
        if i < iterations - 1:
            synth = render(w_plus)


def _add_finite(w_plus: Tensor, by: Tensor) -> Tensor:
    moved = w_plus + by
    is_finite = torch.isfinite(moved).all(2).all(1)
    return torch.where(per_row(is_finite, moved), moved, w_plus)


@dataclass(frozen=True, slots=True)
class _RefinementObjective(FeedForwardObjective):
    """The objective without steps: its start runs all iterations."""

    method: ReStyle
    view: View
    encoder: Encoder
    results: ClassVar[tuple[str, ...]] = ("w_plus", "iteration")

    def start(self, rows: Rows) -> Start:
        method, constants = self.method, self.view.constants(rows.targets)
        kept: Tensors = {}
        for i, (w_plus, synth) in self._iterates(rows.targets):
            if i == method.iterations or method.keeps_best:
                kept = self._better(kept, self._measure(w_plus, synth, constants, i))
        return Start({}, kept | {"w_plus": kept["w_plus"].float()})

    def _iterates(self, targets: Tensor) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
        """Iteration => latents and their images; 0 is the code of an encoder not ReStyle's."""
        w_plus, compute_residual = self._begin(targets)
        if self.method.is_trained:
            synth = self.view.render(w_plus[:1]).expand(len(w_plus), -1, -1, -1)
        else:
            synth = self.view.render(w_plus)
            yield 0, (w_plus, synth)
        for i in range(1, self.method.iterations + 1):
            # w <- w + step * residual: E(x, G(w)) of ReStyle, E(x) - E(G(w)) of another encoder
            w_plus = _add_finite(w_plus, self.method.share * compute_residual(synth))
            synth = self.view.render(w_plus)
            yield i, (w_plus, synth)

    def _begin(self, targets: Tensor) -> tuple[Tensor, ComputeResidual]:
        """Return the latents before the first iteration, and the residual function."""
        G = self.view.generator
        if self.method.is_trained:
            network = cast("PyramidEncoder", self.encoder)
            mean = G.w_avg.float().expand(len(targets), G.num_ws, -1)
            return mean, lambda synth: network.residual(targets, synth)
        code = self.encoder(targets).float()
        return expand_finite(code, G), lambda synth: code - self.encoder(synth)

    def _measure(
        self, w_plus: Tensor, synth: Tensor, constants: Tensors, iteration: int
    ) -> Tensors:
        """The iterate with its losses, each [n, ...]."""
        return {
            "w_plus": w_plus,
            "iteration": w_plus.new_full((len(w_plus),), iteration),
            "mse": squared_error(synth, constants),
            "perceptual": self.view.distance(synth, constants).float(),
        }

    def _better(self, kept: Tensors, candidate: Tensors) -> Tensors:
        """Take per row the iterate with the lower loss."""
        if not kept:
            return candidate
        is_better = self._total(candidate) < self._total(kept)
        return {k: torch.where(per_row(is_better, v), v, kept[k]) for k, v in candidate.items()}

    def _total(self, terms: Tensors) -> Tensor:
        """Weighted total [n]; infinity where it is not finite."""
        total = weighted_total(self.weights, terms)
        return total.nan_to_num(nan=torch.inf, posinf=torch.inf)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        return {name: constants[name] for name in self.weights}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReStyle(SinglePassMethod):
    """Iterative refinement. The method is deterministic: seeds have no effect."""

    over: Over = field(
        default="restyle",
        metadata={"description": "kind of the network: restyle, or encoder, e4e or psp, refined"},
    )
    iterations: int = field(
        default=5,
        metadata={
            "description": "passes, 1 or more; more than the network was trained with help little"
        },
    )
    step: float = field(
        default=0.0,
        metadata={
            "description": "share of the residual to add; 0: all of ReStyle's, half of others'"
        },
    )
    keep: Keep = field(
        default="auto",
        metadata={
            "description": "last: as published; best: each row's best; auto: best if "
            "`over` is not restyle"
        },
    )
    restyle: str = field(
        default="auto",
        metadata={
            "description": "address of the ReStyle encoder; auto: the one for this generator",
            "applies": (("over", "==", "restyle"),),
        },
    )
    encoder: str = field(
        default="auto",
        metadata={
            "description": "address of the encoder, if `over` is encoder",
            "applies": (("over", "==", "encoder"),),
        },
    )
    e4e: str = field(
        default="auto",
        metadata={
            "description": "address of the e4e encoder, if `over` is e4e",
            "applies": (("over", "==", "e4e"),),
        },
    )
    psp: str = field(
        default="auto",
        metadata={
            "description": "address of the pSp encoder, if `over` is psp",
            "applies": (("over", "==", "psp"),),
        },
    )

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"expected iterations of 1 or more, got {self.iterations}")
        if not 0 <= self.step < math.inf:
            raise ValueError(
                f"expected a step of 0 or more, got {self.step}: 0 takes the usual step"
            )

    @property
    def is_trained(self) -> bool:
        """Whether the network is ReStyle's own."""
        return self.over == "restyle"

    @property
    def keeps_best(self) -> bool:
        return self.keep == "best" or (self.keep == "auto" and not self.is_trained)

    @property
    def share(self) -> float:
        """Share of the residual that is added."""
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

        `steps` is the number of iterations, `best_step` the kept iteration (0: the encoder's own
        code) and `loss` its loss.
        """
        view = View.of(generator, perceptual, targets, preview=self.preview, max_px=self.loss_px)
        encoder = encoder_of(networks, generator, self.over)
        if self.is_trained and getattr(encoder, "input_channels", 3) != 6:
            raise ValueError(
                "expected a 'restyle' network with six input channels, got one with three: name a "
                "ReStyle encoder, or set `over: encoder` to refine this one"
            )
        outcome = Engine(steps=0, precision=self.precision).run(
            _RefinementObjective(self, view, encoder), targets, seeds=seeds, batch_size=batch_size
        )
        inversion = outcome.inversion(self.space, outcome.results["w_plus"])
        return replace(
            inversion,
            steps=torch.full_like(inversion.steps, self.iterations),
            best_step=outcome.results["iteration"].long(),
        )
