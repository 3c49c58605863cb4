"""Pivotal Tuning for Latent-based Editing of Real Images, Roich, Mokady, Bermano and Cohen-Or 2021.

https://arxiv.org/abs/2106.05744. A latent is sought first, the pivot; then, with the pivot held,
the generator's weights move until they draw the picture there (eq. 3). Rates, budgets and weights
are those of the published code, which stops a picture at LPIPS 0.06. Ours differs in the best
iterate being kept; in any method's latent as the pivot; and in `rank`:

    rank 0    the published way: all weights, one picture at a time, at `learning_rate`
    rank r    every modulated convolution and RGB layer W becomes W + up @ down of rank r for each
              picture, at `factor_learning_rate`: a batch of pictures is tuned at once

The change of the weights is the inversion's state: stored with the latent, and used by every edit.
The losses told are those of the picture as it is drawn from the store. Measured on 4 held-out
portraits of 64 px, 150 steps, a generator half trained, the pivot at 18.23 dB and LPIPS 0.078, by
`python benchmarks/pti_storage.py --num 4 --steps 150 --ranks 4`; `others`: the pictures
of other latents against the untuned generator's, dB:

    stored, int8                           kB      dB    LPIPS  others  CPU s a picture
    rank 4 (float16: 73 kB, the same)      40   26.50   0.0061   21.9    2.6
    rank 0 (float16: 1864 kB, the same)    944   24.94   0.0094   21.7    9.2
    rank 0, stored_rank 4                  66   24.01   0.0213   22.2    9.2

Products are drawn as one batch by a StyleGAN2; other changes, and other generators, row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from invertory.generators.deltas import coded, cut
from invertory.generators.state import kernels, tunable
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Tensors, weighted_total
from invertory.inversion.feed_forward import FeedForward
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.inversion.in_domain.optimisation import InDomain
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import Weighing
from invertory.inversion.projector import Projector
from invertory.inversion.pti.tuning import Stored, Tuning

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.engine.slots import Outcome
    from invertory.inversion.engine.view import View
    from invertory.inversion.method import Inversion, Method, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotalTuning(Weighing):
    """Find a pivot, then tune the generator around it, for each picture."""

    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    has_state: ClassVar[bool] = True

    pivot: Literal["projector", "in_domain", "image2stylegan", "encoder"] = field(
        default="projector",
        metadata={"description": "what finds the pivot; projector: in W, the others in W+"},
    )
    encoder: str = field(
        default="auto",
        metadata={
            "description": "address of the encoder, for the pivots in_domain and encoder",
            "applies": (("pivot", "in", ("in_domain", "encoder")),),
        },
    )
    pivot_steps: int = field(
        default=450,
        metadata={
            "description": "Adam steps to the pivot",
            "applies": (("pivot", "!=", "encoder"),),
        },
    )
    pivot_learning_rate: float = field(
        default=0.01,
        metadata={
            "description": "Adam's rate on the way to the pivot",
            "applies": (("pivot", "!=", "encoder"),),
        },
    )
    w_samples: int = field(
        default=600,
        metadata={
            "description": "projector: draws behind the mean and deviation of w",
            "applies": (("pivot", "==", "projector"),),
        },
    )
    steps: int = field(default=350, metadata={"description": "Adam steps of the weights"})
    rank: int = field(
        default=4,
        metadata={"description": "of a kernel's change; 0: all weights, a picture at a time"},
    )
    learning_rate: float = field(
        default=3e-4,
        metadata={
            "description": "Adam's rate where all weights move (rank 0)",
            "applies": (("rank", "==", 0),),
        },
    )
    factor_learning_rate: float = field(
        default=1e-2,
        metadata={
            "description": "Adam's rate where factors move (rank 1 or more)",
            "applies": (("rank", ">", 0),),
        },
    )
    locality_weight: float = field(
        default=0.0, metadata={"description": "of the locality regulariser; 0.1 as published"}
    )
    target_lpips: float | None = field(
        default=0.06,
        metadata={"description": "stop a picture at this LPIPS; other distances have no such stop"},
    )
    storage: Literal["float16", "int8"] = field(
        default="int8", metadata={"description": "how the change of the weights is kept"}
    )
    stored_rank: int = field(
        default=0, metadata={"description": "rank 0: cut changes to this rank; 0: keep them whole"}
    )

    def __post_init__(self) -> None:
        if min(self.rank, self.stored_rank) < 0 or (self.rank and self.stored_rank):
            raise ValueError(
                f"expected rank from 0, and stored_rank with rank 0 alone, got rank {self.rank} "
                f"and stored_rank {self.stored_rank}: a product of factors is kept as it is"
            )

    @property
    def space(self) -> Space:
        """Of the pivot."""
        return "w" if self.pivot == "projector" else "w_plus"

    @property
    def weights(self) -> dict[str, float]:
        """Term => weight in the loss; the regulariser is computed only where it has one."""
        weights = {"mse": self.mse_weight, "perceptual": self.perceptual_weight}
        return weights | ({"locality": self.locality_weight} if self.locality_weight else {})

    @property
    def terms(self) -> tuple[str, ...]:
        """Of the loss."""
        return tuple(self.weights)

    @property
    def needs(self) -> tuple[str, ...]:
        """An encoder, for the pivots that start with one."""
        return ("encoder",) if self.pivot in ("in_domain", "encoder") else ()

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
        """targets [N, 3, H, H] float32 in [-1, 1] => pivots and changes of weights; see `Method`.

        With `preview` the pivot is sought in previews; the weights are always tuned to the full
        picture. `target_loss` ends the tuning.
        """
        weights = (kernels if self.rank else tunable)(generator)
        if not weights:
            raise ValueError(
                f"expected a generator that tells its weights, got {type(generator).__name__}: "
                "tune a stylegan2 or a mobile_stylegan, or use a method that moves latents alone"
            )
        pivots = self.pivot_method().invert(
            generator,
            targets,
            seeds=seeds,
            perceptual=perceptual,
            batch_size=batch_size,
            networks=networks,
        )
        view = replace(self, preview=False).view(generator, perceptual, targets)
        tuning = Tuning(self, self.weights, view, weights, self.rank)
        found = self._tuned(tuning, targets, pivots.latents, seeds=seeds, batch_size=batch_size)
        return self._told(view, targets, pivots, found, batch_size)

    def rate(self, step: Tensor) -> Tensor:
        """step [n] => Adam's rate [n], float64: that of what moves."""
        peak = self.factor_learning_rate if self.rank else self.learning_rate
        return Weighing.rate(replace(self, learning_rate=peak), step)

    def pivot_method(self) -> Method:
        """What finds the pivot."""
        view: dict[str, Any] = {
            name: getattr(self, name) for name in ("preview", "loss_px", "precision")
        }
        if self.pivot == "encoder":
            return FeedForward(**view)
        steps = {"steps": self.pivot_steps, "learning_rate": self.pivot_learning_rate}
        view |= {"execution": self.execution, **steps}
        if self.pivot == "projector":
            return Projector(w_samples=self.w_samples, **view)
        return InDomain(**view) if self.pivot == "in_domain" else Image2StyleGAN(**view)

    def _tuned(
        self,
        tuning: Tuning,
        targets: Tensor,
        pivots: Tensor,
        *,
        seeds: Sequence[int],
        batch_size: int,
    ) -> list[Outcome]:
        """The rows' outcomes, whose results are the state as it is stored: all rows in one, or
        one each where all weights move, which would not fit into memory together.
        """
        engine = self.engine()
        if self.target_lpips is not None and tuning.view.perceptual.name.startswith("lpips"):
            engine = replace(engine, target_term=("perceptual", self.target_lpips))
        n = len(targets)
        parts = [slice(0, n)] if self.rank else [slice(i, i + 1) for i in range(n)]
        found = []
        for part in parts:
            outcome = engine.run(
                tuning,
                targets[part],
                seeds=seeds[part],
                batch_size=batch_size,
                inputs={"w_plus": pivots[part]},
            )
            found.append(replace(outcome, results=self._kept(tuning.state(outcome.results))))
        return found

    def _kept(self, changes: Tensors) -> Tensors:
        """In the form and precision of the store."""
        if self.stored_rank:
            changes = cut(changes, self.stored_rank)
        half = {name: change.to(torch.float16) for name, change in changes.items()}
        return half if self.storage == "float16" else coded(changes)

    def _told(
        self, view: View, targets: Tensor, pivots: Inversion, found: list[Outcome], batch_size: int
    ) -> Inversion:
        state = _joined([outcome.results for outcome in found])
        stored = Engine(steps=0).run(
            Stored(view),
            targets,
            seeds=range(len(targets)),
            batch_size=batch_size,
            inputs={"w_plus": pivots.latents, **state},
        )
        terms = _joined([outcome.terms for outcome in found]) | stored.terms
        tuned = {
            name: torch.cat([getattr(outcome, name) for outcome in found])
            for name in ("steps", "best_step", "is_finite")
        }
        return replace(
            pivots,
            steps=pivots.steps + tuned["steps"],
            best_step=pivots.steps + tuned["best_step"],
            loss=weighted_total(self.weights, terms),
            terms={name: terms[name] for name in self.terms},
            is_finite=pivots.is_finite & tuned["is_finite"] & stored.is_finite,
            state=state,
        )


def _joined(rows: Sequence[Tensors]) -> Tensors:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
