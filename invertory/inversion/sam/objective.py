"""The objective of spatially-adaptive inversion: w_plus and masked changes of features jointly.

Eq. 3.5 to 3.8 of Parmar et al. 2022; see optimisation.py for the paper and its differences from the
code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from torch import Tensor

from invertory.generators.f_space import DELTA, MASK, Features, f_spaces, hooks_of, masks_of
from invertory.inversion.engine.objective import Rows, Start, Tensors, Unconstrained
from invertory.inversion.engine.view import View, squared_error
from invertory.inversion.feed_forward import encode_w_plus
from invertory.inversion.gaussian_prior import prior
from invertory.inversion.pti.tuning import StoredObjective

if TYPE_CHECKING:
    from invertory.encoders import Encoder
    from invertory.inversion.optimisation import LossWeights
    from invertory.inversion.w_space import Whitening


@dataclass(frozen=True, slots=True)
class AdaptiveObjective(Unconstrained):
    """eq. 3.8. The row's input `choice` is an index into `spaces` for each pixel."""

    method: LossWeights
    weights: Mapping[str, float]  # term => weight; terms without a weight are not computed
    is_squared: bool  # whether the variation's differences are squared, as printed
    view: View
    encoder: Encoder
    whitening: Whitening
    spaces: tuple[str, ...]
    # blocks of the F-spaces that some row has chosen; the others stay unchanged
    blocks: tuple[str, ...]
    iterate: ClassVar[Literal["best", "last"]] = "best"

    @property
    def results(self) -> tuple[str, ...]:
        return ("w_plus", *(DELTA + block for block in self.blocks))

    def start(self, rows: Rows) -> Start:
        """Start from the encoder's latent and no change of features."""
        G, targets = self.view.generator, rows.targets
        shapes = dict(f_spaces(G).values())
        masks = masks_of(G, rows.inputs["choice"], self.spaces)
        # the layout that bfloat16 convolutions read fastest
        is_last = self.method.precision == "bfloat16"
        order = torch.channels_last if is_last else torch.contiguous_format
        zeros = {
            DELTA + block: targets.new_zeros(len(targets), *shapes[block]).to(memory_format=order)
            for block in self.blocks
        }
        constants = self.view.constants(targets)
        constants |= {MASK + block: masks[block] for block in self.blocks}
        return Start({"w_plus": encode_w_plus(self.encoder, targets, G), **zeros}, constants)

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        w_plus = variables["w_plus"]
        deltas = {block: variables[DELTA + block] for block in self.blocks}
        # eq. 3.3: f_l = g(f, w_plus) + m_l * delta_l
        masked = {block: constants[MASK + block] * delta for block, delta in deltas.items()}
        synth = render_with_deltas(self.view, w_plus, masked)
        terms = {
            "mse": squared_error(synth, constants),
            "perceptual": self.view.distance(synth, constants),
            # eq. 3.6, first term: the printed sum over rows and axes
            "prior": prior(w_plus, self.whitening) * w_plus[0].numel(),
            "variation": variation(w_plus, is_squared=self.is_squared),
            # eq. 3.7, as a mean over each block
            "delta": sum(
                (delta.square().mean((1, 2, 3)) for delta in deltas.values()),
                torch.zeros_like(w_plus[:, 0, 0]),
            ),
        }
        return {name: terms[name] for name in self.weights}

    def learning_rate(self, step: Tensor) -> Tensor:
        return self.method.rate(step)


class StoredDeltasObjective(StoredObjective):
    """The objective without steps that measures the image drawn with the stored deltas."""

    def render(self, w_plus: Tensor, state: Tensors) -> Tensor:
        """w_plus [n, num_ws, w_dim] with the deltas by name => the image that the loss compares."""
        deltas = {name.removeprefix(DELTA): delta for name, delta in state.items()}
        return render_with_deltas(self.view, w_plus, deltas)


def render_with_deltas(view: View, w_plus: Tensor, deltas: Mapping[str, Tensor]) -> Tensor:
    """Synthesise w_plus with `deltas` (block => m * delta) added to the features."""
    hooks: dict[str, Any] = {"hooks": hooks_of(Features(deltas, {}))} if deltas else {}
    return view.render(w_plus, **hooks)


def variation(w_plus: Tensor, *, is_squared: bool) -> Tensor:
    """Second term of eq. 3.6: sum over rows n of |w_n - w_0|^2, not squared in the code; [N]."""
    offsets = w_plus[:, 1:] - w_plus[:, :1]
    if is_squared:
        return offsets.square().sum((1, 2))
    out: Tensor = torch.linalg.vector_norm(offsets, dim=2).sum(1)
    return out
