"""LinkNet: attributes of an image, told from its latent by one affine map.

MAGECally invert images for realistic editing, Grechka, Goudou and Cord, BMVC 2021, section 3,
https://hal.sorbonne-universite.fr/hal-03504190. Trained on pairs of a latent and the labels that
the attribute net F gives its image; the rows of a training latent are drawn independently, as
the first author's thesis says. Beside the map we keep the editor: one direction per attribute.
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
    """w_plus [N, num_ws, w_dim] => attribute logits [N, A]; `directions` edits attribute by one."""

    weight: Tensor  # [A, num_ws * w_dim]
    bias: Tensor  # [A]
    directions: Tensor  # [A, num_ws, w_dim]: one standard deviation of the attribute's distance

    def __init__(self, *, num_ws: int, w_dim: int, attributes: Sequence[str]) -> None:
        super().__init__()
        if not attributes:
            raise ValueError("expected at least one attribute, got none; name what F can tell")
        self.num_ws, self.w_dim, self.attributes = num_ws, w_dim, tuple(attributes)
        num = len(self.attributes)
        self.weight = nn.Parameter(torch.zeros(num, num_ws * w_dim))
        self.bias = nn.Parameter(torch.zeros(num))
        self.register_buffer("directions", torch.zeros(num, num_ws, w_dim))

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor; JSON-able."""
        names = list(self.attributes)
        return {"num_ws": self.num_ws, "w_dim": self.w_dim, "attributes": names}

    def forward(self, w_plus: Tensor) -> Tensor:
        if w_plus.ndim != 3 or w_plus.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(
                f"expected w_plus [N, {self.num_ws}, {self.w_dim}], got {list(w_plus.shape)}; "
                "a LinkNet fits only the generator it was trained with"
            )
        return nn.functional.linear(w_plus.flatten(1), self.weight, self.bias)

    def consistency(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The first term of Eq. 2: BCE of logits [N, A] with F's labels [N, A] => [N]."""
        return binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)

    def edit_consistency(
        self, w_plus: Tensor, labels: Tensor, *, step: float, editor: Editor = "affine"
    ) -> Tensor:
        """The second term of Eq. 2, every attribute added and removed by `step` deviations => [N].

        As the map is affine, L(w + s n) = L(w) + s A n: "affine" computes all edits from one
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
    """labels [N, A] => [N, 2A, A]: with attribute i set, for each i; then with it cleared."""
    is_edited = torch.eye(num, dtype=torch.bool, device=labels.device)
    repeated = labels[:, None].expand(-1, num, -1)
    return torch.cat(
        [repeated.masked_fill(is_edited, 1.0), repeated.masked_fill(is_edited, 0.0)], 1
    )


def _mean_over_edits(logits: Tensor, labels: Tensor) -> Tensor:
    losses = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return losses.mean((1, 2))
