"""Inversion: pictures to latents. `METHODS` names every method a recipe may ask for.

A method is a frozen dataclass of its hyper-parameters (defaults are the paper's) with three class
attributes (`space`, `terms`, `kind`) and one verb, `invert`. Adding one takes its file and a line
in `METHODS`; the recipe's choices, the assets and the contract test follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from invertory.generators import Generator
    from invertory.perceptual import Perceptual

Space = Literal["w", "w_plus"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Inversion:
    """What inverting N pictures gave; rows in the order of the pictures, on the CPU, float32.

    A row whose loss became non-finite has `is_finite` False and the last finite latent it had.
    """

    space: Space
    latents: Tensor  # [N, 1, w_dim] in W, [N, num_ws, w_dim] in W+
    steps: Tensor  # [N] int, steps taken
    best_step: Tensor  # [N] int, step of the iterate that was kept
    loss: Tensor  # [N] weighted total at the kept iterate
    terms: dict[str, Tensor]  # term => [N], unweighted, at the kept iterate
    is_finite: Tensor  # [N] bool


class Method(Protocol):
    """A method of inversion with its hyper-parameters."""

    space: ClassVar[Space]
    terms: ClassVar[tuple[str, ...]]
    kind: ClassVar[Literal["optimisation", "feed_forward"]]

    def invert(
        self,
        generator: Generator,
        targets: Tensor,
        *,
        seeds: Sequence[int],
        perceptual: Perceptual,
        batch_size: int,
    ) -> Inversion:
        """targets [N, 3, H, W] float32 in [-1, 1] => `Inversion`, on `targets.device`.

        `seeds` has one seed per row; a row's result depends on its picture and its seed alone.
        """
        ...


# Below the contracts, because the methods import them.
from invertory.inversion.image2stylegan import Image2StyleGAN  # noqa: E402
from invertory.inversion.projector import Projector  # noqa: E402

METHODS: dict[str, type[Method]] = {
    "image2stylegan": Image2StyleGAN,
    "projector": Projector,
}
