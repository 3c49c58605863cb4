"""Spatially-Adaptive Multilayer Selection for GAN Inversion and Editing, Parmar et al. 2022.

https://arxiv.org/abs/2206.08357, the variant by optimisation. Regions that the generator can draw
are inverted in W+, where they can be edited; other regions in the features of a later block. A
network predicts the perceptual error that each pixel keeps in each space (section 3.1). Each
segment takes the most editable space whose mean error is at most tau (3.2). Then w_plus and the
masked changes of features are optimised together (3.3), starting from an encoder's latent. The
paper and the published code differ, and `preset` chooses:

    code    |w_n - w_0| of the rows not squared; an edit keeps features inside their masks
    paper   squared; an edit also keeps what skip connections drew below: section 3.4 strictly

In both presets the prior uses the inverse of the covariance and the mean of the Gaussianised w,
masks are soft at borders, the mean square of the changes keeps them small, noise is constant, and
the best iterate is kept (the published code draws fresh noise at each step and keeps the last). Its
tau of 0.225 is an LPIPS of a VGG16 after 501 steps; ours is in the predictor's unit, which its
training calibrates: 1 is the error that plain images rarely exceed in W+.

The changes are the inversion's state: 8 bits a value and 0 outside their masks, so they compress to
what the masks cover. A portrait of 64 px takes 5.8 kB of 101 kB (benchmarks/sam_curve.py, 16
portraits); with MobileStyleGAN a photograph takes 120 kB in F4 alone, or 640 kB with the regions
beside the face in F10 (benchmarks/sam_faces.py, 4 photographs). The reported losses are those of
the image drawn from the store.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from invertory.generators.deltas import dequantise
from invertory.generators.f_space import (
    DELTA,
    Features,
    f_spaces,
    masks_of,
    resolve_spaces,
)
from invertory.inversion.engine.engine import Engine
from invertory.inversion.engine.objective import weighted_total
from invertory.inversion.feed_forward import encoder_of
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import LossWeights, Schedule
from invertory.inversion.sam.choice import SpaceChoice, SpaceChoiceConfig
from invertory.inversion.sam.objective import AdaptiveObjective, StoredDeltasObjective
from invertory.inversion.w_space import Whitening

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.inversion.engine.slots import Outcome
    from invertory.inversion.engine.view import View
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


@dataclass(frozen=True, slots=True, kw_only=True)
class SpatiallyAdaptive(SpaceChoiceConfig, LossWeights):
    """Choose a space for each segment, then optimise w_plus and features. Seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"

    encoder: str = field(
        default="auto",
        metadata={"description": "address of the encoder; auto: the one for this generator"},
    )
    steps: int = field(default=1000, metadata={"description": "Adam steps per image"})
    learning_rate: float = field(default=0.05, metadata={"description": "Adam's rate at its peak"})
    schedule: Schedule = field(
        default="ramp", metadata={"description": "constant, or the projector's ramp up and down"}
    )
    prior_weight: float = field(
        default=1e-8,
        metadata={"description": "weight of the Mahalanobis distance, summed over rows"},
    )
    variation_weight: float = field(
        default=1e-3, metadata={"description": "weight of the rows' distance from the first row"}
    )
    delta_weight: float = field(
        default=5.0,
        metadata={
            "description": "weight of the mean squares of features' changes; 0: the ablation"
        },
    )
    w_samples: int = field(
        default=5000, metadata={"description": "number of draws for the mean and covariance"}
    )

    @property
    def weights(self) -> dict[str, float]:
        """Term => weight in the loss; a regulariser is computed only if its weight is not 0."""
        own = {
            "prior": self.prior_weight,
            "variation": self.variation_weight,
            "delta": self.delta_weight,
        }
        distances = {"mse": self.mse_weight, "perceptual": self.perceptual_weight}
        return distances | {name: weight for name, weight in own.items() if weight}

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the loss terms."""
        return tuple(self.weights)

    @property
    def needs(self) -> tuple[str, ...]:
        """The encoder, and the networks that the choice needs."""
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

        `segmentation` [N, H, H], an index for each pixel, replaces the parser's segments.
        """
        encoder = encoder_of(networks, generator)
        spaces = resolve_spaces(generator, self.spaces)
        view = self.view(generator, perceptual, targets)
        self._check(view, spaces)
        choice = self.choose(view, targets, spaces, networks, segmentation)
        blocks = _used_blocks(generator, choice.index, spaces)
        whitening = Whitening.of(generator, self.w_samples)
        objective = AdaptiveObjective(
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
            inputs={"choice": choice.at(targets.shape[-1])},
            is_valid=choice.is_known,
        )
        masks = masks_of(generator, choice.index.cpu(), spaces)
        return self._to_inversion(view, targets, outcome, masks, choice, batch_size)

    def _check(self, view: View, spaces: tuple[str, ...]) -> None:
        """Refuse a preview that does not show the blocks of the chosen spaces."""
        known = f_spaces(view.generator)
        finer = [name for name in spaces if name in known and known[name][1][1] > view.size_px]
        if finer and view.is_preview:
            raise ValueError(
                f"expected spaces of at most {view.size_px} px with preview, got "
                f"{', '.join(finer)}: set preview to false, raise loss_px, or change spaces"
            )

    def _to_inversion(
        self,
        view: View,
        targets: Tensor,
        outcome: Outcome,
        masks: Mapping[str, Tensor],
        choice: SpaceChoice,
        batch_size: int,
    ) -> Inversion:
        """Build the inversion with the changes as stored and the losses of the image they draw."""
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
            StoredDeltasObjective(view),
            targets,
            seeds=range(n),
            batch_size=batch_size,
            inputs={"w_plus": w_plus}
            | {name: delta for name, delta in dequantise(state).items() if name.startswith(DELTA)},
        )
        terms = outcome.terms | stored.terms
        return replace(
            outcome.inversion(self.space, w_plus),
            loss=weighted_total(self.weights, terms),
            terms={name: terms[name] for name in self.terms},
            is_finite=outcome.is_finite & stored.is_finite,
            state=state,
            maps=choice.maps(self),
            refused=choice.refused(),
        )


def _used_blocks(generator: Generator, index: Tensor, spaces: tuple[str, ...]) -> tuple[str, ...]:
    """Blocks of the F-spaces that occur in `index`."""
    known = f_spaces(generator)
    chosen = [spaces[i] for i in torch.unique(index).tolist()]
    return tuple(known[name][0] for name in chosen if name in known)
