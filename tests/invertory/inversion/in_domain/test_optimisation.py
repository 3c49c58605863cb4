"""In-Domain on a linear generator, whose exact encoder is known."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders import ResidualEncoder
from invertory.generators.toy import ToyGenerator
from invertory.inversion import METHODS, Inversion
from invertory.inversion.in_domain.optimisation import InDomain, diffuse
from invertory.perceptual import PixelPyramid

G = ToyGenerator(resolution=16, frequencies=3)


class ExactEncoder(nn.Module):
    """The generator's least-squares inverse, moved by `offset`."""

    resolution, num_ws, w_dim = 16, G.num_ws, G.w_dim

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.offset = offset
        self.seen: list[int] = []  # sizes of the batches

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(len(x))
        return G.invert_exactly(x) + self.offset


def noise(n: int, seed: int = 0) -> Tensor:
    """Images that the generator cannot draw."""
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def invert(method: InDomain, targets: Tensor, encoder: nn.Module, **more: Tensor) -> Inversion:
    return method.invert(
        G,
        targets,
        seeds=list(range(len(targets))),
        perceptual=PixelPyramid(),
        batch_size=2,
        networks={"encoder": encoder},
        **more,
    )


def test_the_codes_of_an_exact_encoder_are_those_of_the_images() -> None:
    draws = torch.randn(3, 4, G.w_dim, generator=torch.Generator().manual_seed(1))
    w_plus = G.w_avg + 0.1 * draws  # near the mean, so within the range of images
    for name in ("conventional_encoder", "domain_guided_encoder"):
        found = METHODS[name]().invert(
            G,
            G.synthesis(w_plus),
            seeds=[0, 1, 2],
            perceptual=PixelPyramid(),
            batch_size=2,
            networks={"encoder": ExactEncoder()},
        )
        torch.testing.assert_close(found.latents, w_plus, rtol=0, atol=1e-5)
        assert found.steps.tolist() == [0, 0, 0]
        assert (found.terms["mse"] < 1e-9).all()


def test_the_domain_loss_is_the_distance_that_an_encoder_is_off() -> None:
    found = invert(InDomain(steps=0), noise(2), ExactEncoder(offset=0.3))
    torch.testing.assert_close(found.terms["domain"], torch.full((2,), 0.3**2))
    expected = found.terms["mse"] + found.terms["perceptual"] + 2 * found.terms["domain"]
    torch.testing.assert_close(found.loss, expected)


def test_a_pull_towards_what_the_encoder_sees_moves_the_code_against_its_error() -> None:
    # a constant offset has no gradient, so this encoder is scaled: E(G(w)) = w / 2 pulls towards 0
    class Half(ExactEncoder):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) / 2

    targets = noise(1)
    method = InDomain(steps=200, learning_rate=0.05)
    free = invert(replace(method, domain_weight=0.0), targets, Half())
    held = invert(replace(method, domain_weight=40.0), targets, Half())
    assert float(held.latents.norm()) < 0.6 * float(free.latents.norm())
    assert float(held.terms["mse"]) > float(free.terms["mse"])


def test_an_exact_encoder_keeps_a_heavily_regularised_code_consistent_with_itself() -> None:
    """For the generator's own images w = E(G(w)), so no weight moves the latent."""
    targets = noise(2)
    free = invert(InDomain(steps=20, domain_weight=0.0), targets, ExactEncoder())
    held = invert(InDomain(steps=20, domain_weight=1e6), targets, ExactEncoder())
    assert (held.terms["domain"] < 1e-10).all()
    torch.testing.assert_close(held.terms["mse"], free.terms["mse"], rtol=1e-2, atol=0)


def test_a_pull_to_one_code_holds_it_there() -> None:
    """An encoder with a constant output is both start and anchor."""
    anchor = torch.full((1, 4, G.w_dim), 0.2)

    class Constant(ExactEncoder):
        def forward(self, x: Tensor) -> Tensor:
            return anchor.expand(len(x), -1, -1) + 0 * x.mean((1, 2, 3))[:, None, None]

    held = invert(InDomain(steps=50, domain_weight=1e6), noise(2), Constant())
    free = invert(InDomain(steps=50, domain_weight=0.0), noise(2), Constant())
    assert float((held.latents - anchor).abs().max()) < 0.02
    assert float((free.latents - anchor).abs().max()) > 0.1


def test_without_a_domain_weight_it_is_plain_optimisation_from_the_code() -> None:
    targets, encoder = noise(2), ExactEncoder(offset=0.5)
    found = invert(InDomain(steps=15, domain_weight=0.0, preset="paper"), targets, encoder)
    assert encoder.seen == [2]  # only the start
    assert tuple(found.terms) == ("mse", "perceptual")
    moved = ToyGenerator(resolution=16, frequencies=3)
    rows = [_plain(moved, targets[i : i + 1], encoder) for i in range(2)]
    torch.testing.assert_close(found.latents, torch.cat(rows), rtol=0, atol=1e-5)


def _plain(generator: ToyGenerator, target: Tensor, encoder: nn.Module) -> Tensor:
    """torch's Adam on the same loss, at its best iterate."""
    w = encoder(target).clone().requires_grad_(True)
    adam, pyramid = torch.optim.Adam([w], lr=0.01), PixelPyramid()
    best, kept = float("inf"), w.detach()
    for _ in range(16):
        made = generator.synthesis(w)
        distance = pyramid.distance(pyramid.features(made), pyramid.features(target))
        loss = (made - target).square().mean() + distance.sum()
        if loss.item() < best:
            best, kept = loss.item(), w.detach().clone()
        adam.zero_grad()
        torch.autograd.backward(loss)
        adam.step()
    return kept


def test_presets_differ_in_the_weight_of_the_domain_and_in_the_iterate() -> None:
    targets, encoder = noise(1), ExactEncoder(offset=0.3)
    code = invert(InDomain(steps=0, preset="code"), targets, encoder)
    paper = invert(InDomain(steps=0, preset="paper"), targets, encoder)
    share = 4 * G.w_dim / (3 * 16 * 16)  # number of code values over number of pixel values
    extra = [found.loss - found.terms["mse"] - found.terms["perceptual"] for found in (code, paper)]
    torch.testing.assert_close(extra[1], extra[0] * share)
    wild = InDomain(steps=10, learning_rate=5.0, schedule="constant")
    last = invert(replace(wild, preset="code"), targets, encoder)
    best = invert(replace(wild, preset="paper"), targets, encoder)
    assert (int(last.best_step), int(best.best_step)) == (10, 0)


def test_the_defaults_are_the_published_codes() -> None:
    method = InDomain()
    assert (method.preset, method.steps, method.learning_rate) == ("code", 100, 0.01)
    assert (method.mse_weight, method.domain_weight, method.schedule) == (1.0, 2.0, "constant")


def test_pixels_outside_the_mask_do_not_count() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8, :8] = 1
    targets = noise(2)
    elsewhere = torch.where(mask > 0, targets, noise(2, seed=9))
    # one start for both: pixels outside the mask would move the encoder's
    method, encoder = InDomain(steps=10, domain_weight=0.0), _Fixed()
    first = invert(method, targets, encoder, mask=mask)
    second = invert(method, elsewhere, encoder, mask=mask)
    torch.testing.assert_close(first.latents, second.latents, rtol=0, atol=1e-6)
    assert not torch.allclose(first.latents[:, 0], encoder(targets)[:, 0], atol=0.05)


def test_a_mask_leaves_rows_that_only_draw_outside_it_alone() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8, :8] = 1  # the tile of row 0; the pyramid reads one pixel further
    found = invert(InDomain(steps=10, domain_weight=0.0), noise(1), _Fixed(), mask=mask)
    assert torch.equal(found.latents[:, 1:], _Fixed()(noise(1))[:, 1:])
    assert not torch.equal(found.latents[:, 0], _Fixed()(noise(1))[:, 0])


class _Fixed(ExactEncoder):
    def forward(self, x: Tensor) -> Tensor:
        return G.w_avg.expand(len(x), 4, -1)


def test_a_mask_of_ones_is_no_mask() -> None:
    targets, method = noise(3), InDomain(steps=5)
    masked = invert(method, targets, ExactEncoder(0.2), mask=torch.ones(3, 1, 16, 16))
    whole = invert(method, targets, ExactEncoder(0.2))
    torch.testing.assert_close(masked.latents, whole.latents, rtol=0, atol=1e-5)


def test_diffusion_starts_at_the_pasted_image_and_keeps_the_target_inside() -> None:
    rng = torch.Generator().manual_seed(4)
    target, context = (
        G.synthesis(G.w_avg + 0.5 * torch.randn(1, 4, G.w_dim, generator=rng)) for _ in range(2)
    )
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., :8, :8] = 1
    found = diffuse(
        InDomain(steps=5),
        G,
        target,
        context,
        mask,
        seeds=[0],
        perceptual=PixelPyramid(),
        batch_size=1,
        networks={"encoder": ExactEncoder()},
    )
    made = G.synthesis(found.latents)
    torch.testing.assert_close(made * mask, target * mask, rtol=0, atol=3e-2)
    torch.testing.assert_close(made * (1 - mask), context * (1 - mask), rtol=0, atol=3e-2)
    assert tuple(found.terms) == ("mse", "perceptual")


@pytest.mark.parametrize(
    ("mask", "message"),
    [(torch.ones(1, 1, 8, 8), "a mask"), (torch.full((1, 1, 16, 16), 2.0), "from 0")],
)
def test_masks_of_another_size_or_range_are_refused(mask: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        invert(InDomain(steps=1), noise(1), ExactEncoder(), mask=mask)


def test_an_encoder_of_another_generator_is_refused() -> None:
    other = ResidualEncoder(resolution=16, num_ws=4, w_dim=8, channels=(4, 8, 8), narrow=4)
    with pytest.raises(ValueError, match=r"expected an encoder into .* \[4, 27\], got .*\[4, 8\]"):
        invert(InDomain(steps=1), noise(1), other.eval())


def test_one_w_from_an_encoder_stands_for_every_row() -> None:
    encoder = ResidualEncoder(
        resolution=16, num_ws=1, w_dim=G.w_dim, channels=(4, 8, 8), narrow=4, hidden=8
    )
    found = invert(InDomain(steps=0), noise(2), encoder.eval().requires_grad_(False))
    assert torch.equal(found.latents, found.latents[:, :1].expand(-1, 4, -1))
