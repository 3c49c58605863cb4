"""SSIM at known values, and against the definition written out window by window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invertory.metrics.ssim import ssim


def test_equal_images_score_one() -> None:
    x = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(ssim(x, x), torch.ones(2))


def test_flat_images_differ_by_luminance_alone() -> None:
    # variances are 0: (2 a b + C1) / (a^2 + b^2 + C1) with C1 = 0.02^2
    a, b = torch.full((1, 3, 12, 12), 0.5), torch.full((1, 3, 12, 12), 0.25)
    torch.testing.assert_close(ssim(a, b), torch.tensor([(0.25 + 4e-4) / (0.3125 + 4e-4)]))


def test_it_is_the_mean_over_whole_windows_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.uniform(-1, 1, (2, 3, 15, 14))
    g = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(g, g) / np.outer(g, g).sum()
    values = []
    for c in range(3):
        for i in range(15 - 10):
            for j in range(14 - 10):
                x, y = a[c, i : i + 11, j : j + 11], b[c, i : i + 11, j : j + 11]
                mx, my = (window * x).sum(), (window * y).sum()
                vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
                cov = (window * (x - mx) * (y - my)).sum()
                c1, c2 = 0.02**2, 0.06**2
                values.append(
                    (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
                )
    found = ssim(torch.from_numpy(a[None]).float(), torch.from_numpy(b[None]).float())
    np.testing.assert_allclose(found.item(), np.mean(values), atol=1e-6)


def test_an_image_smaller_than_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="11 px"):
        ssim(torch.zeros(1, 3, 10, 10), torch.zeros(1, 3, 10, 10))
