"""The columns of InvGAN's Table 1 on the toy generator, which is inverted exactly."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invertory.generators.toy import ToyGenerator
from invertory.metrics.invertible import (
    SETS,
    InvertibleGAN,
    absolute_error,
    frechet_to,
    seconds_per_image,
    synthesise_sets,
)
from invertory.metrics.quality import embed_set

TOY = ToyGenerator(resolution=16, frequencies=2)


class Exact(nn.Module):
    """The toy's inverse."""

    resolution, num_ws, w_dim = 16, TOY.num_ws, TOY.w_dim

    def forward(self, x: Tensor) -> Tensor:
        return TOY.invert_exactly(x)


class Deaf(Exact):
    """An encoder that returns the mean latent for every image."""

    def forward(self, x: Tensor) -> Tensor:
        return TOY.w_avg.expand(len(x), self.num_ws, -1)


def pixels(x: Tensor) -> Tensor:
    return x[:, :, ::4, ::4].flatten(1)


def drawn(seed: int) -> list[Tensor]:
    pair: Any = InvertibleGAN(TOY, Exact())
    return [pair.synthesise(0.5 * w) for w in pair.draws(64, seed=seed, batch=16)]


def test_an_exact_inverse_loses_nothing() -> None:
    test = drawn(3)
    sets = synthesise_sets(InvertibleGAN(TOY, Exact()), test)
    assert tuple(sets) == SETS
    assert [len(batches) for batches in sets.values()] == [4, 4, 4, 4]
    assert absolute_error(sets["test_reconstructed"], test) < 1 / 127
    found = frechet_to(embed_set(test, pixels).moments, sets, pixels)
    assert found["test_reconstructed"] < 0.01 < found["random"]
    assert found["random_reconstructed"] == pytest.approx(found["random"], rel=0.1)


def test_one_that_hears_nothing_is_far_off() -> None:
    test = drawn(3)
    sets = synthesise_sets(InvertibleGAN(TOY, Deaf()), test)
    exact = synthesise_sets(InvertibleGAN(TOY, Exact()), test)
    train = embed_set(test, pixels).moments
    deaf, heard = (frechet_to(train, found, pixels) for found in (sets, exact))
    assert deaf["random"] == heard["random"]
    assert deaf["test_reconstructed"] > 10 * heard["test_reconstructed"]
    assert absolute_error(sets["test_reconstructed"], test) > 0.05


def test_draws_do_not_depend_on_their_batch() -> None:
    pair = InvertibleGAN(TOY, Exact())
    many, few = (torch.cat(list(pair.draws(12, seed=5, batch=n))) for n in (12, 5))
    torch.testing.assert_close(many, few)


def test_the_fastest_pass_is_told_an_image() -> None:
    ticks = iter([0.0, 4.0, 10.0, 12.0, 20.0, 28.0])
    assert seconds_per_image(lambda x: x, torch.zeros(4, 3, 2, 2), lambda: next(ticks)) == 0.5
