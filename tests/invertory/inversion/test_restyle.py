"""ReStyle: its own network and any other, from the average picture, the last or the best kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders.pyramid import PyramidEncoder
from invertory.generators.toy import ToyGenerator
from invertory.inversion import Inversion
from invertory.inversion.e4e import E4E
from invertory.inversion.hybrid import Hybrid
from invertory.inversion.restyle import ReStyle, refined
from invertory.perceptual import PixelPyramid
from invertory.training.supervised import seeded

G = ToyGenerator(resolution=16, frequencies=3)
W_PLUS = 0.4 * torch.randn(3, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(4))
PICTURES = G.synthesis(W_PLUS)


class Shy(nn.Module):
    """An encoder that says `share` of the exact latent: linear, so refinement is a known series."""

    resolution, num_ws, w_dim, input_channels = 16, G.num_ws, G.w_dim, 3

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return self.share * G.invert_exactly(x)


class ShyPair(Shy):
    """The same of what the picture lacks, as ReStyle's own network says it."""

    input_channels = 6

    def residual(self, x: Tensor, synth: Tensor) -> Tensor:
        return self.share * (G.invert_exactly(x) - G.invert_exactly(synth))


class Growing(ShyPair):
    """One that oversteps threefold: each iteration is worse than the one before."""

    def __init__(self) -> None:
        super().__init__(3.0)


def invert(method: Any, network: nn.Module, pictures: Tensor = PICTURES) -> Inversion:
    (kind,) = method.needs
    found: Inversion = method.invert(
        G,
        pictures,
        seeds=list(range(len(pictures))),
        perceptual=PixelPyramid(),
        batch_size=2,
        networks={kind: network},
    )
    return found


@pytest.mark.parametrize("over", ["restyle", "encoder", "e4e", "psp"])
def test_the_error_shrinks_by_what_the_network_leaves_out(over: str) -> None:
    network = ShyPair(0.5) if over == "restyle" else Shy(0.5)
    found = invert(ReStyle(over=cast("Any", over), iterations=4), network)
    expected = W_PLUS + (G.w_avg - W_PLUS) * 0.5**4  # w_{i+1} - w = (1 - share) (w_i - w)
    torch.testing.assert_close(found.latents, expected, rtol=0, atol=1e-4)
    assert found.steps.tolist() == found.best_step.tolist() == [4, 4, 4]


def test_it_starts_from_the_average_picture() -> None:
    seen: list[Tensor] = []

    def added(synth: Tensor) -> Tensor:
        seen.append(synth)
        return torch.ones(3, G.num_ws, G.w_dim)

    mean = G.w_avg.expand(3, G.num_ws, -1)
    latents = list(refined(added, G.synthesis, mean, 2))
    torch.testing.assert_close(seen[0], G.synthesis(mean))
    torch.testing.assert_close(seen[1], G.synthesis(mean + 1))
    torch.testing.assert_close(latents[1], mean + 2)


def test_the_last_iteration_is_kept_unless_the_best_is_wanted() -> None:
    method = ReStyle(iterations=3)
    last, best = (invert(replace(method, keep=keep), Growing()) for keep in ("last", "best"))  # type: ignore[arg-type]
    assert last.best_step.tolist() == [3, 3, 3]
    assert best.best_step.tolist() == [1, 1, 1]
    assert best.steps.tolist() == [3, 3, 3]
    once = invert(ReStyle(iterations=1), Growing())
    torch.testing.assert_close(best.latents, once.latents)
    torch.testing.assert_close(best.loss, once.loss)
    assert (best.loss < last.loss).all()


def test_the_loss_is_that_of_the_kept_latent() -> None:
    found = invert(ReStyle(iterations=2, perceptual_weight=0.5), ShyPair(0.5))
    synth = G.synthesis(found.latents)
    squares = (synth - PICTURES).square().mean((1, 2, 3))
    torch.testing.assert_close(found.terms["mse"], squares, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.loss, squares + 0.5 * found.terms["perceptual"])


def test_a_broken_picture_keeps_the_mean_latent_and_is_marked() -> None:
    pictures = PICTURES.clone()
    pictures[1] = torch.nan
    for keep in ("last", "best"):
        found = invert(ReStyle(iterations=2, keep=cast("Any", keep)), ShyPair(0.5), pictures)
        assert found.is_finite.tolist() == [True, False, True]
        torch.testing.assert_close(found.latents[1], G.w_avg.expand(G.num_ws, -1))


def test_a_network_of_three_channels_is_no_restyle() -> None:
    with pytest.raises(ValueError, match=r"six input channels .* `over: encoder`"):
        invert(ReStyle(), Shy(0.5))


def test_no_iterations_are_refused() -> None:
    with pytest.raises(ValueError, match="expected iterations from 1, got 0"):
        ReStyle(iterations=0)


def pyramid(num_ws: int = G.num_ws, **config: Any) -> PyramidEncoder:
    sizes: dict[str, Any] = {"resolution": 16, "w_dim": G.w_dim, "widths": (4, 4, 4, 4, 4)}
    return (
        seeded(lambda: PyramidEncoder(num_ws=num_ws, backbone="small", **sizes | config), 0)
        .eval()
        .requires_grad_(False)
    )


@pytest.mark.parametrize("method", [E4E(), ReStyle(over="e4e")], ids=["e4e", "restyle"])
def test_an_encoder_for_other_latents_is_refused(method: Any) -> None:
    with pytest.raises(ValueError, match=r"expected an encoder into the generator's latents"):
        invert(method, pyramid(num_ws=3))


def test_other_methods_may_start_from_them() -> None:
    encoder = pyramid(taps="coarsest", input_channels=6)
    found = invert(Hybrid(steps=0), encoder)
    torch.testing.assert_close(found.latents, encoder(PICTURES), rtol=0, atol=1e-4)
