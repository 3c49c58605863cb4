"""Pivotal Tuning for Latent-based Editing of Real Images, Roich, Mokady, Bermano and Cohen-Or 2021.

https://arxiv.org/abs/2106.05744. The first stage finds a latent, the pivot. The second holds the
pivot and tunes the generator's weights until they draw the image there (eq. 3). Rates, budgets and
weights are those of the published code, which stops an image at LPIPS 0.06. Ours differs in keeping
the best iterate, in taking any method's latent as the pivot, and in `rank`:

    rank 0    as published: all weights, one image at a time, at `learning_rate`
    rank r    every modulated convolution and RGB layer W becomes W + up @ down of rank r for each
              image, at `factor_learning_rate`: a batch of images is tuned at once

The change of the weights is the inversion's state: stored with the latent and used by every edit.
The reported losses are those of the image drawn from the store. Measured on 4 held-out portraits of
64 px with 150 steps and a half-trained generator, where the pivot has 18.23 dB and LPIPS 0.078, by
`python benchmarks/pti_storage.py --num 4 --steps 150 --ranks 4`; `others` compares the images of
other latents with the untuned generator's, in dB:

    stored, int8                           kB      dB    LPIPS  others  CPU s an image
    rank 4 (float16: 73 kB, the same)      40   26.50   0.0061   21.9    2.6
    rank 0 (float16: 1864 kB, the same)    944   24.94   0.0094   21.7    9.2
    rank 0, stored_rank 4                  66   24.01   0.0213   22.2    9.2

A StyleGAN2 draws low-rank changes as one batch; other changes and generators run row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch

from invertory.generators.deltas import quantise, truncate_all
from invertory.generators.state import kernels, tunable_weights
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import Tensors, weighted_total
from invertory.inversion.feed_forward import FeedForward
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.inversion.in_domain.optimisation import InDomain
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import LossWeights
from invertory.inversion.projector import Projector
from invertory.inversion.pti.tuning import StoredObjective, TuningObjective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.engine.slots import Outcome
    from invertory.inversion.engine.view import View
    from invertory.inversion.method import Inversion, Method, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True, kw_only=True)
class PivotalTuning(LossWeights):
    """Find a pivot, then tune the generator around it, for each image."""

    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    has_state: ClassVar[bool] = True

    pivot: Literal["projector", "in_domain", "image2stylegan", "encoder"] = field(
        default="projector",
        metadata={"description": "what finds the pivot; projector: in W; the others: in W+"},
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
            "description": "Adam's rate while finding the pivot",
            "applies": (("pivot", "!=", "encoder"),),
        },
    )
    w_samples: int = field(
        default=600,
        metadata={
            "description": "projector: number of draws for the mean and deviation of w",
            "applies": (("pivot", "==", "projector"),),
        },
    )
    steps: int = field(default=350, metadata={"description": "Adam steps on the weights"})
    rank: int = field(
        default=4,
        metadata={"description": "rank of a kernel's change; 0: all weights, one image at a time"},
    )
    learning_rate: float = field(
        default=3e-4,
        metadata={
            "description": "Adam's rate if all weights are tuned (rank 0)",
            "applies": (("rank", "==", 0),),
        },
    )
    factor_learning_rate: float = field(
        default=1e-2,
        metadata={
            "description": "Adam's rate if factors are tuned (rank 1 or more)",
            "applies": (("rank", ">", 0),),
        },
    )
    locality_weight: float = field(
        default=0.0,
        metadata={"description": "weight of the locality regulariser; 0.1 as published"},
    )
    target_lpips: float | None = field(
        default=0.06,
        metadata={
            "description": "stop an image at this LPIPS; ignored for other perceptual distances"
        },
    )
    storage: Literal["float16", "int8"] = field(
        default="int8", metadata={"description": "how the change of the weights is stored"}
    )
    stored_rank: int = field(
        default=0,
        metadata={
            "description": "rank 0: truncate stored changes to this rank; 0: store them whole"
        },
    )

    def __post_init__(self) -> None:
        if min(self.rank, self.stored_rank) < 0 or (self.rank and self.stored_rank):
            raise ValueError(
                "expected rank of 0 or more, and stored_rank only with rank 0, got rank "
                f"{self.rank} and stored_rank {self.stored_rank}: low-rank changes are stored at "
                "their own rank"
            )

    @property
    def space(self) -> Space:
        """Space of the pivot."""
        return "w" if self.pivot == "projector" else "w_plus"

    @property
    def weights(self) -> dict[str, float]:
        """Term => weight in the loss; locality is computed only if its weight is not 0."""
        weights = {"mse": self.mse_weight, "perceptual": self.perceptual_weight}
        return weights | ({"locality": self.locality_weight} if self.locality_weight else {})

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms."""
        return tuple(self.weights)

    @property
    def needs(self) -> tuple[str, ...]:
        """The encoder, for pivots that start with one."""
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

        With `preview`, the pivot is found in previews; the weights are always tuned to the full
        image. `target_loss` applies to the tuning. Raises `ValueError` if the generator has no
        tunable weights.
        """
        weights = (kernels if self.rank else tunable_weights)(generator)
        if not weights:
            raise ValueError(
                f"expected a generator with tunable weights, got {type(generator).__name__}: tune "
                "a stylegan2 or a mobile_stylegan, or use a method that optimises only latents"
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
        tuning = TuningObjective(self, self.weights, view, weights, self.rank)
        outcomes = self._tune(tuning, targets, pivots.latents, seeds=seeds, batch_size=batch_size)
        return self._to_inversion(view, targets, pivots, outcomes, batch_size)

    def rate(self, step: Tensor) -> Tensor:
        """step [n] => Adam's rate [n], float64, of the weights or the factors."""
        peak = self.factor_learning_rate if self.rank else self.learning_rate
        return LossWeights.rate(replace(self, learning_rate=peak), step)

    def pivot_method(self) -> Method:
        """The method that finds the pivot."""
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

    def _tune(
        self,
        tuning: TuningObjective,
        targets: Tensor,
        pivots: Tensor,
        *,
        seeds: Sequence[int],
        batch_size: int,
    ) -> list[Outcome]:
        """Tune the rows => outcomes whose results are the state as stored.

        One outcome has all rows; if all weights are tuned, there is one outcome per row, because
        the rows' weights do not fit into memory together.
        """
        engine = self.engine()
        if self.target_lpips is not None and tuning.view.perceptual.name.startswith("lpips"):
            engine = replace(engine, target_term=("perceptual", self.target_lpips))
        n = len(targets)
        slices = [slice(0, n)] if self.rank else [slice(i, i + 1) for i in range(n)]
        outcomes = []
        for rows in slices:
            outcome = engine.run(
                tuning,
                targets[rows],
                seeds=seeds[rows],
                batch_size=batch_size,
                inputs={"w_plus": pivots[rows]},
            )
            outcomes.append(
                replace(outcome, results=self._to_stored(tuning.state(outcome.results)))
            )
        return outcomes

    def _to_stored(self, changes: Tensors) -> Tensors:
        """Convert changes to the form and precision of the store."""
        if self.stored_rank:
            changes = truncate_all(changes, self.stored_rank)
        half = {name: change.to(torch.float16) for name, change in changes.items()}
        return half if self.storage == "float16" else quantise(changes)

    def _to_inversion(
        self,
        view: View,
        targets: Tensor,
        pivots: Inversion,
        outcomes: list[Outcome],
        batch_size: int,
    ) -> Inversion:
        state = _concatenate([outcome.results for outcome in outcomes])
        stored = Engine(steps=0).run(
            StoredObjective(view),
            targets,
            seeds=range(len(targets)),
            batch_size=batch_size,
            inputs={"w_plus": pivots.latents, **state},
        )
        terms = _concatenate([outcome.terms for outcome in outcomes]) | stored.terms
        tuned = {
            name: torch.cat([getattr(outcome, name) for outcome in outcomes])
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


def _concatenate(rows: Sequence[Tensors]) -> Tensors:
    return {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
