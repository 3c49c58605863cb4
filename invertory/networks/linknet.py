"""LinkNet predicts the attributes of an image from its latent with one affine map.

MAGECally invert images for realistic editing, Grechka, Goudou and Cord, BMVC 2021, section 3,
https://hal.sorbonne-universite.fr/hal-03504190. It is trained on latents and the labels that the
attribute network F assigns to their images; rows of a training latent are drawn independently, as
in the first author's thesis. The network also stores the editor: one direction per attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from invertory.checkpoints.network import CheckpointedNetwork

Editor = Literal["affine", "each"]


class LinkNet(CheckpointedNetwork):
    """w_plus [N, num_ws, w_dim] => attribute logits [N, A]; `directions` hold one edit per
    attribute.
    """

    weight: Tensor  # [A, num_ws * w_dim]
    bias: Tensor  # [A]
    directions: Tensor  # [A, num_ws, w_dim], of length one standard deviation of the distance

    def __init__(self, *, num_ws: int, w_dim: int, attributes: Sequence[str]) -> None:
        super().__init__()
        if not attributes:
            raise ValueError("expected at least one attribute, got none; name attributes of F")
        self.num_ws, self.w_dim, self.attributes = num_ws, w_dim, tuple(attributes)
        num = len(self.attributes)
        self.weight = nn.Parameter(torch.zeros(num, num_ws * w_dim))
        self.bias = nn.Parameter(torch.zeros(num))
        self.register_buffer("directions", torch.zeros(num, num_ws, w_dim))

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor; JSON-serialisable."""
        names = list(self.attributes)
        return {"num_ws": self.num_ws, "w_dim": self.w_dim, "attributes": names}

    def forward(self, w_plus: Tensor) -> Tensor:
        if w_plus.ndim != 3 or w_plus.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(
                f"expected w_plus [N, {self.num_ws}, {self.w_dim}], got {list(w_plus.shape)}; "
                "a LinkNet applies only to the generator it was trained with"
            )
        return nn.functional.linear(w_plus.flatten(1), self.weight, self.bias)

    def consistency(self, logits: Tensor, labels: Tensor) -> Tensor:
        """First term of Eq. 2: BCE of logits [N, A] with F's labels [N, A] => [N]."""
        return binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)

    def edit_consistency(
        self, w_plus: Tensor, labels: Tensor, *, step: float, editor: Editor = "affine"
    ) -> Tensor:
        """Second term of Eq. 2: mean BCE over all edits by +-`step` standard deviations => [N].

        The map L is affine, so L(w + s n) = L(w) + s A n: "affine" computes all edits from one
        forward pass and a matrix [A, A]; "each" edits the latent 2 A times, as printed.
        """
        num = len(self.attributes)
        if editor == "affine":
            moves = step * (self.directions.flatten(1) @ self.weight.T)  # [edit, logit]
            logits = self(w_plus)[:, None] + torch.cat([moves, -moves])  # (N, 2A, A)
        else:
            shifts = step * torch.cat([self.directions, -self.directions])
            logits = torch.stack([self(w_plus + shift) for shift in shifts], 1)
        return _mean_over_edits(logits, edited_labels(labels, num))


def edited_labels(labels: Tensor, num: int) -> Tensor:
    """Labels [N, A] => [N, 2A, A]: with attribute i set, for each i, then with it cleared."""
    is_edited = torch.eye(num, dtype=torch.bool, device=labels.device)
    repeated = labels[:, None].expand(-1, num, -1)
    return torch.cat(
        [repeated.masked_fill(is_edited, 1.0), repeated.masked_fill(is_edited, 0.0)], 1
    )


def _mean_over_edits(logits: Tensor, labels: Tensor) -> Tensor:
    losses = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.mean((1, 2))
