"""ReStyle: its own network from the average image; other encoders never worse than their code."""

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
from invertory.inversion.restyle import ReStyle, refine
from invertory.perceptual import PixelPyramid
from invertory.training.optimiser import seeded

G = ToyGenerator(resolution=16, frequencies=3)
W_PLUS = 0.4 * torch.randn(3, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(4))
IMAGES = G.synthesis(W_PLUS)
BIAS = 0.3 * torch.randn(G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(5))


class Shy(nn.Module):
    """An encoder that returns `share` of the exact latent, so refinement is a known series."""

    resolution, num_ws, w_dim, input_channels = 16, G.num_ws, G.w_dim, 3

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        return self.share * G.invert_exactly(x)


class Biased(Shy):
    """An encoder that returns the exact latent plus a constant offset."""

    def __init__(self) -> None:
        super().__init__(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return G.invert_exactly(x) + BIAS


class ShyPair(Shy):
    """The same as a residual, as ReStyle's own network returns it."""

    input_channels = 6

    def residual(self, x: Tensor, synth: Tensor) -> Tensor:
        return self.share * (G.invert_exactly(x) - G.invert_exactly(synth))


class Growing(ShyPair):
    """An encoder that oversteps threefold: each iteration is worse than the previous one."""

    def __init__(self) -> None:
        super().__init__(3.0)


def mse(latents: Tensor) -> Tensor:
    return (G.synthesis(latents) - IMAGES).square().mean((1, 2, 3))


def invert(method: Any, network: nn.Module, images: Tensor = IMAGES) -> Inversion:
    (kind,) = method.needs
    found: Inversion = method.invert(
        G,
        images,
        seeds=list(range(len(images))),
        perceptual=PixelPyramid(),
        batch_size=2,
        networks={kind: network},
    )
    return found


def test_the_error_shrinks_by_what_the_network_leaves_out() -> None:
    found = invert(ReStyle(iterations=4), ShyPair(0.5))
    expected = W_PLUS + (G.w_avg - W_PLUS) * 0.5**4  # w_{i+1} - w = (1 - share) (w_i - w)
    torch.testing.assert_close(found.latents, expected, rtol=0, atol=1e-4)
    assert found.steps.tolist() == found.best_step.tolist() == [4, 4, 4]


@pytest.mark.parametrize("over", ["encoder", "e4e", "psp"])
def test_over_another_encoder_it_starts_at_its_code_and_takes_half_steps(over: str) -> None:
    found = invert(ReStyle(over=cast("Any", over), iterations=4), Biased())
    torch.testing.assert_close(found.latents, W_PLUS + BIAS * 0.5**4, rtol=0, atol=1e-4)
    assert found.steps.tolist() == found.best_step.tolist() == [4, 4, 4]
    plain = invert(E4E(), Biased())
    assert (found.loss < 0.1 * plain.loss).all()


def test_a_full_step_undoes_a_bias_at_once() -> None:
    found = invert(ReStyle(over="psp", iterations=3, step=1.0), Biased())
    torch.testing.assert_close(found.latents, W_PLUS, rtol=0, atol=1e-4)
    half = invert(ReStyle(iterations=2, step=0.5), ShyPair(1.0))
    torch.testing.assert_close(half.latents, W_PLUS + (G.w_avg - W_PLUS) / 4, rtol=0, atol=1e-4)


@pytest.mark.parametrize("share", [0.3, 1.0, 3.0, 5.0, 9.0])
def test_refining_never_ends_worse_than_the_code_itself(share: float) -> None:
    plain = invert(E4E(), Shy(share))
    found = invert(ReStyle(over="e4e"), Shy(share))
    began = mse(plain.latents)
    assert (mse(found.latents) <= began + 1e-6).all()
    if share >= 5:  # each pass oversteps more than the previous one
        assert found.best_step.tolist() == [0, 0, 0]
        torch.testing.assert_close(found.latents, plain.latents)
        last = invert(ReStyle(over="e4e", keep="last"), Shy(share))
        assert (mse(last.latents) > began).all()


def test_each_row_keeps_its_own_best() -> None:
    class Uneven(Shy):
        """An encoder with a bias for short latents, which oversteps for long ones."""

        def forward(self, x: Tensor) -> Tensor:
            w_plus = G.invert_exactly(x)
            is_long = w_plus.abs().amax((1, 2), keepdim=True) > 5
            return torch.where(is_long, 5 * w_plus, w_plus + BIAS)

    scale = torch.tensor([1.0, 10.0, 1.0])[:, None, None]
    found = invert(ReStyle(over="psp"), Uneven(1.0), G.synthesis(W_PLUS * scale))
    assert found.best_step.tolist() == [5, 0, 5]
    assert found.steps.tolist() == [5, 5, 5]


def test_it_starts_from_the_average_image() -> None:
    seen: list[Tensor] = []

    def added(synth: Tensor) -> Tensor:
        seen.append(synth)
        return torch.ones(3, G.num_ws, G.w_dim)

    mean = G.w_avg.expand(3, G.num_ws, -1)
    latents = list(refine(added, G.synthesis, mean, 2))
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
    squares = (synth - IMAGES).square().mean((1, 2, 3))
    torch.testing.assert_close(found.terms["mse"], squares, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.loss, squares + 0.5 * found.terms["perceptual"])


def test_a_broken_image_keeps_the_mean_latent_and_is_marked() -> None:
    images = IMAGES.clone()
    images[1] = torch.nan
    for keep in ("last", "best"):
        found = invert(ReStyle(iterations=2, keep=cast("Any", keep)), ShyPair(0.5), images)
        over = invert(ReStyle(over="e4e", keep=cast("Any", keep)), Biased(), images)
        for one in (found, over):
            assert one.is_finite.tolist() == [True, False, True]
            torch.testing.assert_close(one.latents[1], G.w_avg.expand(G.num_ws, -1))


def test_a_network_of_three_channels_is_no_restyle() -> None:
    with pytest.raises(
        ValueError, match=r"six input channels, got one with three.*`over: encoder`"
    ):
        invert(ReStyle(), Shy(0.5))


def test_no_iterations_are_refused() -> None:
    with pytest.raises(ValueError, match="expected iterations of 1 or more, got 0"):
        ReStyle(iterations=0)


@pytest.mark.parametrize("step", [-0.5, float("nan"), float("inf")])
def test_a_step_that_is_none_is_refused(step: float) -> None:
    with pytest.raises(ValueError, match="expected a step of 0 or more"):
        ReStyle(step=step)


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
    torch.testing.assert_close(found.latents, encoder(IMAGES), rtol=0, atol=1e-4)
