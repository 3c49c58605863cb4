"""PTI's locality regulariser: tuned weights should draw other latents as before.

Pivotal Tuning for Latent-based Editing of Real Images, Roich et al. 2021, section 3.3: each step
draws a latent, moves it to a distance alpha from the pivot, and synthesises it with the tuned and
with the original weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from invertory.generators.state import State, synthesise
from invertory.inversion.engine.adam import per_row

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.inversion.engine.view import View

ALPHA = 30.0  # from the published code
PSI = 0.5  # truncation of the draws in the published code


def latent_draws(generator: Generator, seeds: Sequence[int], steps: int) -> Tensor:
    """Draw one truncated w per row and step, [N, steps, w_dim], from the row's seed alone."""
    z = torch.stack(
        [
            torch.randn(steps, generator.z_dim, generator=torch.Generator().manual_seed(seed))
            for seed in seeds
        ]
    )
    w = generator.mapping(z.flatten(0, 1).to(generator.w_avg))
    return generator.w_avg.lerp(w.to(generator.w_avg), PSI).reshape(len(seeds), steps, -1)


def locality(view: View, w_plus: Tensor, w: Tensor, state: State) -> Tensor:
    """eq. 5 and 6: pivots [N, num_ws, w_dim], drawn w [N, w_dim], tuned weights => [N].

    The sum of the perceptual distance and the mean square, whose weights are equal in the paper and
    in the code. The distance from the pivot is taken over all rows of W+ together, as in the code.
    """
    # w_r = w_p + alpha (w_z - w_p) / |w_z - w_p|
    away = w[:, None] - w_plus
    length = away.flatten(1).norm(dim=1).clamp_min(1e-8)
    around = w_plus + away * per_row(ALPHA / length, away)
    with torch.no_grad():
        before = view.resize(view.generator.synthesis(around))
        features = view.perceptual.features(before)
    after = view.resize(synthesise(view.generator, around, state))
    distance = view.perceptual.distance(view.perceptual.features(after), features)
    # L_R = L_LPIPS(x_r, x_r*) + lambda_L2 L_L2(x_r, x_r*)
    return distance + (after.float() - before.float()).square().mean((1, 2, 3))
