"""GANSpace: Discovering Interpretable GAN Controls, Harkonen, Hertzmann, Lehtinen and Paris 2020.

https://arxiv.org/abs/2004.02546. Edits move some rows of W+ along a principal component of w, in
standard deviations. The published code estimates the components incrementally and their deviations
from a few thousand draws. Ours are exact, from the covariance summed in float64, and the largest
entry of a component is positive, so that a number always names the same component.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from invertory.editing.sefa import canonical
from invertory.editing.sefa import edit as moved
from invertory.generators import Generator
from invertory.metrics.frechet import Moments

BATCH = 10_000  # draws mapped at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Principal components of w in float64, in order of decreasing variance."""

    mean: Tensor  # [w_dim]
    directions: Tensor  # [k, w_dim]; rows of unit length
    deviations: Tensor  # [k], standard deviations of w along them
    explained: Tensor  # [k], shares of the total variance

    def __len__(self) -> int:
        return len(self.directions)

    def coordinates(self, w: Tensor) -> Tensor:
        """w [N, w_dim] => [N, k], in standard deviations from the mean."""
        self._check(w)
        return (w.double() - self.mean.to(w.device)) @ self._scaled_inverse(w.device)

    def move(self, number: int) -> Tensor:
        """Component `number`, one standard deviation long, as `edit` takes it: [1, w_dim].

        Raises `ValueError` if there is no such component.
        """
        if not 0 <= number < len(self):
            raise ValueError(
                f"expected a component within 0-{len(self) - 1}, got {number}; fit more, up to the "
                "width of w"
            )
        return (self.directions[number] * self.deviations[number])[None]

    def matching(self, w: Tensor, scores: Tensor) -> tuple[int, float]:
        """Find the component that best correlates with the scores [N] of w [N, w_dim].

        Returns its number and Pearson's correlation, whose sign is that of the step which raises
        the score.
        """
        along = self.coordinates(w)
        along, centred_scores = along - along.mean(0), scores.to(along) - scores.to(along).mean()
        norms = along.norm(dim=0) * centred_scores.norm()
        correlation = (centred_scores @ along) / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        number = int(correlation.abs().argmax())
        return number, float(correlation[number])

    def _scaled_inverse(self, device: torch.device) -> Tensor:
        floor = torch.finfo(torch.float64).tiny
        return (self.directions / self.deviations.clamp_min(floor)[:, None]).T.to(device)

    def _check(self, w: Tensor) -> None:
        if w.ndim != 2 or w.shape[1] != len(self.mean):
            raise ValueError(
                f"expected w [N, {len(self.mean)}], got {list(w.shape)}; components fit only the "
                "generator in whose w they were found"
            )


def find_components(batches: Iterable[Tensor], num: int = 80) -> Components:
    """Batches of w [N, w_dim] => the `num` widest components, or as many as w has axes."""
    moments = Moments.of(batches)
    # w covariance = V diag(variances) V^T
    variances, vectors = torch.linalg.eigh(moments.covariance.cpu())
    kept = slice(0, num)
    widest = variances.flip(0).clamp_min(0)
    return Components(
        mean=moments.mean.cpu(),
        directions=canonical(vectors.T.flip(0)[kept]),
        deviations=widest[kept].sqrt(),
        explained=widest[kept] / widest.sum(),
    )


def components_of(
    generator: Generator, num: int = 80, *, num_samples: int = 300_000, seed: int = 0
) -> Components:
    """Find the components of a generator's w; the published ones use 10^6 samples."""
    return find_components(_draws(generator, num_samples, seed), num)


def edit(w_plus: Tensor, component: Tensor, step: Tensor | float, layers: str = "all") -> Tensor:
    """w_plus [N, num_ws, w_dim] moved by `step` deviations along `component`, in rows `layers`.

    `component` is `Components.move(number)`, [1, w_dim]; `step` is [N] or one for all. Eq. 3; the
    paper writes E(v5, 0-3) for component 5 in rows 0 to 3.
    """
    return moved(w_plus, component, step, layers)


@torch.no_grad()
def _draws(generator: Generator, num_samples: int, seed: int) -> Iterator[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    device = generator.w_avg.device
    for start in range(0, num_samples, BATCH):
        z = torch.randn(min(BATCH, num_samples - start), generator.z_dim, generator=rng)
        yield generator.mapping(z.to(device))
