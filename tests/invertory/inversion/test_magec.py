from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from invertory.generators.toy import ToyGenerator
from invertory.inversion import Inversion
from invertory.inversion.magec import Magec
from invertory.networks.linknet import LinkNet
from invertory.perceptual import PixelPyramid

GENERATOR = ToyGenerator(resolution=16, frequencies=3)
PLAIN = Magec(steps=40, learning_rate=0.1, magec_weight=0.0)


class Bright:
    """An attribute network that measures brightness."""

    attributes = ("other", "bright")

    def scores(self, x: Tensor) -> Tensor:
        return torch.stack([torch.zeros(len(x)), torch.sigmoid(9 * x.mean((1, 2, 3)))], 1)


def linknet(steepness: float = 1.0) -> LinkNet:
    """A LinkNet that equals `Bright`, because the toy's mean is linear in its latent."""
    made = LinkNet(num_ws=GENERATOR.num_ws, w_dim=GENERATOR.w_dim, attributes=("bright",))
    w_plus = GENERATOR.w_avg.expand(1, 4, -1).clone().requires_grad_()
    mean = GENERATOR.synthesis(w_plus).mean()
    (slope,) = torch.autograd.grad(mean, w_plus)
    with torch.no_grad():
        made.weight.copy_(9 * steepness * slope.flatten(1))
        made.directions.copy_(slope / slope.norm())
    return made.requires_grad_(False)


def targets(n: int = 3) -> Tensor:
    w_plus = torch.randn(n, 4, GENERATOR.w_dim, generator=torch.Generator().manual_seed(2))
    return GENERATOR.synthesis(w_plus).clamp(-1, 1)


def invert(method: Magec, **networks: object) -> Inversion:
    given = {"classifier": Bright(), "linknet": linknet()} | networks
    return method.invert(
        GENERATOR,
        targets(),
        seeds=[1, 2, 3],
        perceptual=PixelPyramid(),
        batch_size=2,
        networks=given,  # type: ignore[arg-type]
    )


def test_both_stages_are_counted_and_the_best_iterate_is_of_the_second() -> None:
    found = invert(PLAIN)
    assert found.steps.tolist() == [40, 40, 40]
    assert all(step >= 20 for step in found.best_step.tolist())


def test_the_result_is_weighed_by_the_second_stage() -> None:
    found = invert(PLAIN)
    expected = 0.5 * found.terms["mse"] + 0.5 * found.terms["perceptual"]
    torch.testing.assert_close(found.loss, expected)


def test_a_heavy_magec_term_makes_the_latent_say_what_the_image_says() -> None:
    light, heavy = invert(PLAIN), invert(replace(PLAIN, magec_weight=10.0))
    total = [f.terms["consistency"] + f.terms["edit_consistency"] for f in (light, heavy)]
    assert (total[1] < total[0] - 1e-3).all()


def test_edit_by_edit_gives_the_same_latents_as_the_matrix() -> None:
    method = replace(PLAIN, magec_weight=1.0)
    affine, each = invert(method), invert(replace(method, editor="each"))
    torch.testing.assert_close(affine.latents, each.latents, atol=1e-4, rtol=1e-4)


def test_an_identity_net_adds_its_term() -> None:
    method = replace(PLAIN, identity="some", identity_weight=1.0)
    found = invert(method, identity=torch.nn.Flatten())
    assert tuple(found.terms) == method.terms
    assert (found.terms["identity"] >= -1e-5).all()
    assert "identity" not in PLAIN.terms


def test_networks_of_another_generator_or_classifier_are_refused() -> None:
    other = LinkNet(num_ws=3, w_dim=GENERATOR.w_dim, attributes=("bright",))
    with pytest.raises(ValueError, match="train it with this generator"):
        invert(PLAIN, linknet=other)
    stranger = LinkNet(num_ws=4, w_dim=GENERATOR.w_dim, attributes=("tall",))
    with pytest.raises(ValueError, match="got one without tall"):
        invert(PLAIN, linknet=stranger)
