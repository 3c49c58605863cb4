"""Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022.

https://arxiv.org/abs/2206.08357, the variant by optimisation. What the generator can draw is
inverted in W+, where it can be edited; what it cannot, in the features of a later block. A network
predicts how large the perceptual error of each pixel stays in each space (section 3.1); each
segment takes the most editable space whose mean is at most tau (3.2); then w_plus and the masked
changes of features are optimised together (3.3), from an encoder's latent. Print and code differ,
and `preset` chooses:

    code    |w_n - w_0| of the rows not squared; an edit keeps features inside their masks
    paper   squared; an edit also keeps what skip connections drew below: section 3.4 strictly

In both the prior takes the inverse of the covariance and the mean of the Gaussianised w, masks are
soft at borders, changes of features are held small by their mean square, noise is constant, and
the best iterate is kept (the published code: fresh noise at each step, and the last). Its tau of
0.225 is an LPIPS of a VGG16 after 501 steps; ours is in the predictor's unit, which its training
calibrates: 1 is the error that plain pictures rarely exceed in W+.

The changes are the inversion's state: 8 bits a value and 0 outside their masks, so that they
compress to what the masks cover: 5.8 kB a portrait of 64 px, of 101 kB (benchmarks/sam_curve.py, 16
portraits); of MobileStyleGAN 120 kB a photograph in F4 alone, 640 kB with what lies beside the face
in F10 (benchmarks/sam_faces.py, 4 photographs). The losses told are those of the picture drawn from
the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from invertory.generators.deltas import decoded
from invertory.generators.f_space import (
    DELTA,
    Features,
    checked_spaces,
    f_spaces,
    masks_of,
)
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import weighted_total
from invertory.inversion.feed_forward import encoder_of
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import Schedule, Weighing
from invertory.inversion.sam.choice import Choice, Choosing
from invertory.inversion.sam.objective import Adaptive, Kept
from invertory.inversion.w_space import Whitening

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.inversion.engine.slots import Outcome
    from invertory.inversion.engine.view import View
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatiallyAdaptive(Choosing, Weighing):
    """Choose a space for each segment, then optimise w_plus and features. Without draws."""

    space: ClassVar[Space] = "w_plus"
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"

    encoder: str = field(
        default="auto",
        metadata={"description": "address of the encoder; auto: the one for this generator"},
    )
    steps: int = field(default=1000, metadata={"description": "Adam steps per picture"})
    learning_rate: float = field(default=0.05, metadata={"description": "Adam's rate at its peak"})
    schedule: Schedule = field(
        default="ramp", metadata={"description": "constant, or up and down as the projector"}
    )
    prior_weight: float = field(
        default=1e-8, metadata={"description": "of the Mahalanobis distance, summed over rows"}
    )
    variation_weight: float = field(
        default=1e-3, metadata={"description": "of how far rows are from the first"}
    )
    delta_weight: float = field(
        default=5.0,
        metadata={"description": "of the mean squares of features' changes; 0: ablation"},
    )
    w_samples: int = field(
        default=5000, metadata={"description": "draws behind mean and covariance"}
    )

    @property
    def weights(self) -> dict[str, float]:
        """Term => weight in the loss; a regulariser is computed only where it has one."""
        own = {
            "prior": self.prior_weight,
            "variation": self.variation_weight,
            "delta": self.delta_weight,
        }
        distances = {"mse": self.mse_weight, "perceptual": self.perceptual_weight}
        return distances | {name: weight for name, weight in own.items() if weight}

    @property
    def terms(self) -> tuple[str, ...]:
        """Of the loss."""
        return tuple(self.weights)

    @property
    def needs(self) -> tuple[str, ...]:
        """Beside an encoder, what the choice takes; nothing where there is none to make."""
        return ("encoder", *self.choosers)

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
        networks: Mapping[str, nn.Module] = NO_NETWORKS,
        segmentation: Tensor | None = None,
    ) -> Inversion:
        """targets [N, 3, H, H] float32 in [-1, 1] => w_plus, features, maps; see `Method`.

        `segmentation` [N, H, H], an index for each pixel, takes the place of the parser's.
        """
        encoder = encoder_of(networks, generator)
        spaces = checked_spaces(generator, self.spaces)
        view = self.view(generator, perceptual, targets)
        self._check(view, spaces)
        found = self.chosen(view, targets, spaces, networks, segmentation)
        blocks = _used(generator, found.index, spaces)
        whitening = Whitening.of(generator, self.w_samples)
        objective = Adaptive(
            self,
            self.weights,
            is_squared=self.preset == "paper",
            view=view,
            encoder=encoder,
            whitening=whitening,
            spaces=spaces,
            blocks=blocks,
        )
        outcome = self.engine().run(
            objective,
            targets,
            seeds=seeds,
            batch_size=batch_size,
            inputs={"choice": found.at(targets.shape[-1])},
            is_valid=found.is_known,
        )
        masks = masks_of(generator, found.index.cpu(), spaces)
        return self._told(view, targets, outcome, masks, found, batch_size)

    def _check(self, view: View, spaces: tuple[str, ...]) -> None:
        """A preview does not show what lies in blocks above it."""
        known = f_spaces(view.generator)
        finer = [name for name in spaces if name in known and known[name][1][1] > view.size_px]
        if finer and view.is_preview:
            raise ValueError(
                f"expected spaces of at most {view.size_px} px with preview, got "
                f"{', '.join(finer)}: set preview to false, loss_px higher, or spaces"
            )

    def _told(
        self,
        view: View,
        targets: Tensor,
        outcome: Outcome,
        masks: Mapping[str, Tensor],
        found: Choice,
        batch_size: int,
    ) -> Inversion:
        """With the changes as they are stored, and the losses of what these draw."""
        shapes = dict(f_spaces(view.generator).values())
        n, w_plus = len(targets), outcome.results["w_plus"]
        deltas = {
            block: masks[block] * outcome.results[DELTA + block]
            if DELTA + block in outcome.results
            else torch.zeros(n, *shapes[block])
            for block in masks
        }
        state = Features(deltas, dict(masks)).stored() if masks else {}
        stored = Engine(steps=0).run(
            Kept(view),
            targets,
            seeds=range(n),
            batch_size=batch_size,
            inputs={"w_plus": w_plus}
            | {name: delta for name, delta in decoded(state).items() if name.startswith(DELTA)},
        )
        terms = outcome.terms | stored.terms
        return replace(
            outcome.inversion(self.space, w_plus),
            loss=weighted_total(self.weights, terms),
            terms={name: terms[name] for name in self.terms},
            is_finite=outcome.is_finite & stored.is_finite,
            state=state,
            maps=found.maps(self),
            refused=found.refused(),
        )


def _used(generator: Generator, index: Tensor, spaces: tuple[str, ...]) -> tuple[str, ...]:
    """Blocks of the F-spaces that occur."""
    known = f_spaces(generator)
    chosen = [spaces[i] for i in torch.unique(index).tolist()]
    return tuple(known[name][0] for name in chosen if name in known)
