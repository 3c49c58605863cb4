"""LEC on the toy generator, which can be inverted exactly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invertory.generators.toy import ToyGenerator
from invertory.metrics.latent_consistency import (
    latent_consistency,
    latent_error,
    latent_errors,
    trimmed,
)

G = ToyGenerator(resolution=16, frequencies=3)
W_PLUS = 0.1 * torch.randn(5, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(0))


def there(w_plus: Tensor) -> Tensor:
    return w_plus + 0.01


def back(w_plus: Tensor) -> Tensor:
    return w_plus - 0.01


def test_an_exact_inversion_is_consistent() -> None:
    found = latent_errors(
        W_PLUS,
        edits=[(there, back), (back, there)],
        synthesis=G.synthesis,
        invert=G.invert_exactly,
    )
    assert found.shape == (5, 2)
    assert latent_consistency(found) == pytest.approx(0, abs=1e-5)


def test_an_error_is_the_length_of_what_is_off() -> None:
    off = torch.zeros_like(W_PLUS)
    off[:, 0, 0], off[:, 3, 2] = 3.0, 4.0
    found = latent_errors(
        W_PLUS,
        edits=[(there, back)],
        synthesis=G.synthesis,
        invert=lambda x: G.invert_exactly(x) + off,
    )
    torch.testing.assert_close(found, torch.full((5, 1), 5.0), rtol=1e-4, atol=0)


def test_of_two_latents_it_is_the_length_between_them() -> None:
    again = W_PLUS.clone()
    again[:, 1, 0] += 2.0
    torch.testing.assert_close(latent_error(W_PLUS, again), torch.full((5,), 2.0))


def test_the_mean_leaves_out_the_extremes_and_unknown_rows() -> None:
    errors = torch.cat([torch.ones(98), torch.tensor([0.0, 1000.0, torch.nan])])
    assert latent_consistency(errors) == 1
    assert trimmed(errors).tolist() == [1.0] * 98
    assert latent_consistency(errors, trim=0) == pytest.approx(1098 / 100)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="expected errors of at least one row"):
        latent_consistency(torch.tensor([torch.nan]))
    with pytest.raises(ValueError, match="expected at least one pair of an edit"):
        latent_errors(W_PLUS, edits=[], synthesis=G.synthesis, invert=G.invert_exactly)
