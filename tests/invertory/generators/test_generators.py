"""The contract of `Generator`, for every family in `GENERATORS`, at sizes that need no weights."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invertory.generators import GENERATORS, Generator
from invertory.generators.preview import untrained_head

SMALL: dict[str, dict[str, Any]] = {
    "biggan": {"resolution": 16, "z_dim": 6, "w_dim": 7, "channels": (8, 8, 6)},
    "dcgan": {"resolution": 16, "z_dim": 6, "w_dim": 5, "channels": (8, 6)},
    "mobile_stylegan": {"channels": (16, 16, 8), "w_dim": 12, "mapping_layers": 2},
    "stylegan2": {
        "z_dim": 6,
        "w_dim": 12,
        "img_resolution": 32,
        "channel_base": 256,
        "channel_max": 16,
        "num_layers": 2,
    },
    "toy": {"seed": 5},
}


def build(name: str) -> Any:
    """A small generator of the family with seeded weights (the toy has its own)."""
    generator = GENERATORS[name](**SMALL[name])
    rng = torch.Generator().manual_seed(7)
    if name != "toy":
        for key, tensor in generator.state_dict().items():
            if not key.endswith(("resample_filter", "running_var", "num_batches_tracked")):
                tensor.copy_(0.5 * torch.randn(tensor.shape, generator=rng))
    if name == "mobile_stylegan":
        generator.attach_preview(untrained_head(generator, 8))
    return generator


@pytest.fixture(params=sorted(GENERATORS))
def generator(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


def draw(generator: Generator, n: int) -> Tensor:
    rng = torch.Generator().manual_seed(n)
    return torch.randn(n, generator.num_ws, generator.w_dim, generator=rng)


def test_every_family_is_tested_here() -> None:
    assert SMALL.keys() == GENERATORS.keys()


def test_it_is_a_frozen_generator(generator: Any) -> None:
    assert isinstance(generator, Generator)
    assert isinstance(generator, nn.Module)
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())


def test_shapes(generator: Any) -> None:
    w_plus, px, small = draw(generator, 2), generator.resolution, generator.preview_resolution
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(2, generator.z_dim, generator=rng)
    assert generator.w_avg.shape == (generator.w_dim,)
    assert generator.mapping(z).shape == (2, generator.w_dim)
    assert generator.synthesis(w_plus).shape == (2, 3, px, px)
    assert generator.preview(w_plus).shape == (2, 3, small, small)
    features = generator.features(w_plus, generator.feature_names)
    assert tuple(features) == tuple(generator.feature_names)
    assert all(f.shape[0] == 2 and f.ndim == 4 for f in features.values())


def test_a_batch_of_four_is_four_of_one(generator: Any) -> None:
    w_plus = draw(generator, 4)
    for verb in (generator.synthesis, generator.preview):
        singly = torch.cat([verb(w) for w in w_plus[:, None]])
        # of the largest value, as pictures of float32 are held to the references
        limit = 2e-5 * float(singly.abs().max())
        torch.testing.assert_close(verb(w_plus), singly, rtol=0, atol=limit)


def test_a_latent_names_one_image(generator: Any) -> None:
    w_plus = draw(generator, 2)
    assert torch.equal(generator.synthesis(w_plus), generator.synthesis(w_plus))


@pytest.mark.parametrize("verb", ["synthesis", "preview"])
def test_every_row_of_the_latent_gets_a_gradient(generator: Any, verb: str) -> None:
    w_plus = draw(generator, 2).requires_grad_()
    getattr(generator, verb)(w_plus).square().sum().backward()
    assert w_plus.grad is not None
    assert w_plus.grad.isfinite().all()
    assert (w_plus.grad.flatten(2).norm(dim=2) > 0).all()


def test_gradient_is_right(generator: Any) -> None:
    generator = generator.double()
    w_plus = draw(generator, 1).double().requires_grad_()
    direction = torch.randn(
        w_plus.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64
    )

    def energy(w: Tensor) -> Tensor:
        return generator.synthesis(w).square().mean()

    (slope,) = torch.autograd.grad(energy(w_plus), w_plus)
    step = 1e-6
    with torch.no_grad():
        difference = energy(w_plus + step * direction) - energy(w_plus - step * direction)
    torch.testing.assert_close(
        (slope * direction).sum(), difference / (2 * step), rtol=1e-4, atol=1e-8
    )


def test_state_and_config_rebuild_it(generator: Any) -> None:
    config = json.loads(json.dumps(generator.config))
    twin = type(generator).load(generator.state_dict(), config)
    w_plus = draw(generator, 1)
    assert torch.equal(twin.preview(w_plus), generator.preview(w_plus))
    assert torch.equal(twin.synthesis(w_plus), generator.synthesis(w_plus))
    assert torch.equal(twin.w_avg, generator.w_avg)


def test_a_latent_of_another_shape_is_refused(generator: Any) -> None:
    with pytest.raises(ValueError, match=r"expected w_plus \[N"):
        generator.synthesis(torch.zeros(2, generator.w_dim))


def test_an_unknown_feature_is_refused(generator: Any) -> None:
    with pytest.raises(ValueError, match="expected feature names among"):
        generator.features(draw(generator, 1), ("b3",))
