"""Maximum mean discrepancy between two sets of latents, as a loss.

Gretton et al., "A Kernel Two-Sample Test", 2012, https://jmlr.org/papers/v13/gretton12a.html, eq.
3: the unbiased estimate. InvGAN (Ghosh et al., section 3.2) uses an RBF kernel without giving its
bandwidth. We use the mean of five kernels, with sigma^2 of 1/2, 1, 2, 4 and 8 times the median of
the squared distances within the joint set.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SCALES = (0.5, 1.0, 2.0, 4.0, 8.0)  # sigma^2, relative to the median


def mmd(x: Tensor, y: Tensor, scales: Sequence[float] = SCALES) -> Tensor:
    """x [N, D], y [M, D], at least two rows each => MMD^2, scalar; can be negative if x ~ y.

    MMD^2 = E k(x, x') + E k(y, y') - 2 E k(x, y), k = mean over scales of exp(-|x - y|^2 / (2
    sigma^2)). Raises ValueError for other shapes.
    """
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(
            "expected two sets of 2 or more latents [N, D] of one length, got "
            f"{list(x.shape)} and {list(y.shape)}"
        )
    # bfloat16 loses small differences of large products
    with torch.autocast(x.device.type, enabled=False):
        squares = _squares(torch.cat([x, y]).float())  # [N + M, N + M]
    n, others = len(x), ~torch.eye(len(squares), dtype=torch.bool, device=x.device)
    median = squares.detach()[others].median().clamp_min(1e-12)
    kernel = torch.stack([torch.exp(-squares / (2 * scale * median)) for scale in scales]).mean(0)
    kernel = kernel * others
    m = len(y)
    within = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    return within - 2 * kernel[:n, n:].mean()


def _squares(x: Tensor) -> Tensor:
    """Squared distances [N, N] of rows [N, D], centred for precision."""
    x = x - x.detach().mean(0)
    lengths = x.square().sum(1)
    return (lengths[:, None] + lengths - 2 * x @ x.T).clamp_min(0)
