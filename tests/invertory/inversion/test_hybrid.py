"""Hybrid inversion: an encoder's start, and its optimisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from invertory.generators.toy import ToyGenerator
from invertory.inversion import Inversion
from invertory.inversion.hybrid import Hybrid
from invertory.perceptual import PixelPyramid

G = ToyGenerator(resolution=16, frequencies=3)


class Nearly(nn.Module):
    """The toy's own inverse, with an error."""

    num_ws, w_dim = G.num_ws, G.w_dim

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error

    def forward(self, images: Tensor) -> Tensor:
        return G.invert_exactly(images) + self.error


def targets() -> tuple[Tensor, Tensor]:
    draws = torch.randn(3, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(1))
    w_plus = G.w_avg + 0.5 * draws
    return G.synthesis(w_plus), w_plus


def invert(method: Hybrid, error: float) -> Inversion:
    return method.invert(
        G,
        targets()[0],
        seeds=[0, 1, 2],
        perceptual=PixelPyramid(),
        batch_size=2,
        networks={"encoder": Nearly(error)},
    )


def test_without_steps_it_is_the_encoder() -> None:
    found = invert(Hybrid(steps=0), 0.25)
    torch.testing.assert_close(found.latents, targets()[1] + 0.25, rtol=0, atol=1e-5)
    assert found.steps.tolist() == [0, 0, 0]


def test_optimisation_takes_the_encoders_error_away() -> None:
    found = invert(Hybrid(steps=150), 0.1)
    torch.testing.assert_close(found.latents, targets()[1], rtol=0, atol=1e-2)


def test_the_result_is_never_worse_than_the_encoders() -> None:
    start = invert(Hybrid(steps=0), 0.0)
    far = invert(Hybrid(steps=3, learning_rate=5.0, schedule="constant"), 0.0)
    assert (far.loss <= start.loss).all()
    assert far.best_step.tolist() == [0, 0, 0]
