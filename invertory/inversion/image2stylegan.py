"""Image2StyleGAN: How to Embed Images Into the StyleGAN Latent Space?, Abdal, Qin and Wonka 2019.

https://arxiv.org/abs/1904.03189. A latent in W+ starts at the mean w and follows the gradient of a
pixel loss and a perceptual loss. Ours differs in four ways: the perceptual loss is the one passed
in (usually LPIPS), not the paper's four VGG16 layers; the best iterate is kept; with `preview`, the
loss sees the generator's preview head in place of its full image; and with `w_steps`, the first
steps optimise one w for all rows, and the steps in W+ start from the best of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from invertory.inversion.engine.objective import Rows, Start, Tensors, Unconstrained
from invertory.inversion.engine.view import View
from invertory.inversion.method import NO_NETWORKS
from invertory.inversion.optimisation import LossWeights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from invertory.generators import Generator
    from invertory.inversion.engine.slots import Outcome
    from invertory.inversion.method import Inversion, Space
    from invertory.perceptual import Perceptual


ComputeStart = Callable[["Tensor"], "Tensor"]  # images [n, 3, H, H] => [n, 1 or num_ws, w_dim]


class HasLossWeights(Protocol):
    """A method with the two weights of eq. 1."""

    @property
    def mse_weight(self) -> float: ...
    @property
    def perceptual_weight(self) -> float: ...

    def rate(self, step: Tensor) -> Tensor:
        """step [n] => Adam's rate [n]."""
        ...


@dataclass(frozen=True, slots=True)
class EmbeddingObjective(Unconstrained):
    """The objective: eq. 1, L = lambda_percept * L_percept + lambda_mse * L_mse."""

    method: HasLossWeights
    view: View
    begin: ComputeStart  # start of a row; [n, 1, w_dim] optimises one w for all rows of w_plus
    results: ClassVar[tuple[str, ...]] = ("w_plus",)
    iterate: ClassVar[Literal["best", "last"]] = "best"

    @property
    def weights(self) -> Mapping[str, float]:
        return {"mse": self.method.mse_weight, "perceptual": self.method.perceptual_weight}

    def start(self, rows: Rows) -> Start:
        return Start({"w_plus": self.begin(rows.targets)}, self.view.constants(rows.targets))

    def losses(self, variables: Tensors, constants: Tensors, step: Tensor) -> Tensors:
        w_plus = variables["w_plus"].expand(-1, self.view.generator.num_ws, -1)
        synth = self.view.render(w_plus)
        return self.view.compare(synth, constants)

    def learning_rate(self, step: Tensor) -> Tensor:
        return self.method.rate(step)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image2StyleGAN(LossWeights):
    """Optimise W+ from the mean w. The method is deterministic: seeds have no effect."""

    space: ClassVar[Space] = "w_plus"
    terms: ClassVar[tuple[str, ...]] = ("mse", "perceptual")
    kind: ClassVar[Literal["optimisation", "feed_forward"]] = "optimisation"
    needs: ClassVar[tuple[str, ...]] = ()

    steps: int = field(
        default=5000, metadata={"description": "Adam steps per image; the paper's 5000"}
    )
    w_steps: int = field(
        default=0,
        metadata={
            "description": "steps in W before those in W+ (our addition; 0: as in the paper)"
        },
    )

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
        """targets [N, 3, H, H] float32 in [-1, 1] => latents [N, num_ws, w_dim]; see `Method`."""
        view = self.view(generator, perceptual, targets)

        def run(steps: int, num_rows: int, starts: Tensors | None = None) -> Outcome:
            """Run `steps` steps on w_plus with `num_rows` free rows."""
            method = replace(self, steps=steps)
            return method.engine().run(
                EmbeddingObjective(method, view, partial(mean_start, generator, num_rows)),
                targets,
                seeds=seeds,
                batch_size=batch_size,
                starts=starts,
            )

        starts = None
        if self.w_steps:
            w = run(self.w_steps, 1).results["w_plus"]
            starts = {"w_plus": w.expand(-1, generator.num_ws, -1)}
        outcome = run(self.steps, generator.num_ws, starts)
        return outcome.inversion(self.space, outcome.results["w_plus"])


def mean_start(generator: Generator, num_rows: int, images: Tensor) -> Tensor:
    """Return the mean w, [n, num_rows, w_dim], for any images."""
    return generator.w_avg.expand(len(images), num_rows, generator.w_dim)
