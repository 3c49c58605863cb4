"""Changes of a generator's weights: their forms, and the images that they give."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invertory.generators import Generator
from invertory.generators.deltas import (
    CODES,
    DELTA,
    DOWN,
    PEAK,
    UP,
    dequantise,
    quantise,
    truncate,
    truncate_all,
)
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.state import kernels, pack, synthesise, tunable_weights, unpack
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator


def filled(generator: nn.Module) -> Generator:
    rng = torch.Generator().manual_seed(0)
    for name, tensor in [*generator.named_parameters(), *generator.named_buffers()]:
        if tensor.ndim > 1 and "resample" not in name:
            tensor.copy_(torch.randn(tensor.shape, generator=rng))
        elif name.endswith(("affine.bias", "noise_strength")):
            tensor.fill_(0.5)
        elif tensor.ndim == 1:
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=rng))
    return generator  # type: ignore[return-value]


def stylegan2(architecture: str = "skip") -> Generator:
    sizes = {"img_resolution": 16, "z_dim": 8, "w_dim": 8, "num_layers": 1, "channel_base": 64}
    return filled(StyleGAN2(**sizes, architecture=architecture))


MAKERS = {
    "skip": stylegan2,
    "resnet": lambda: stylegan2("resnet"),
    "mobile_stylegan": lambda: filled(MobileStyleGAN(channels=(8, 8), w_dim=8, mapping_layers=1)),
    "toy": lambda: ToyGenerator(resolution=8, frequencies=2),
}


def latents(G: Generator, n: int = 3) -> Tensor:
    return torch.randn(n, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(1))


def products(G: Generator, n: int = 3, rank: int = 2) -> dict[str, Tensor]:
    rng, state = torch.Generator().manual_seed(2), {}
    for name, kernel in kernels(G).items():
        r = min(rank, len(kernel))
        state[name + UP] = 0.3 * torch.randn(n, len(kernel), r, generator=rng)
        state[name + DOWN] = torch.randn(n, r, kernel[0].numel(), generator=rng)
    return state


def whole(G: Generator, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name + DELTA: (state[name + UP] @ state[name + DOWN]).reshape(-1, *kernel.shape)
        for name, kernel in kernels(G).items()
    }


def assert_near(found: Tensor, expected: Tensor) -> None:
    """Compare within 2e-5 of the largest value, as float32 images meet the references."""
    limit = 2e-5 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("name", MAKERS)
def test_products_give_the_image_of_the_kernels_they_stand_for(name: str) -> None:
    G = MAKERS[name]()
    state, w_plus = products(G), latents(G)
    made = synthesise(G, w_plus, state)
    for i, delta in enumerate(zip(*whole(G, state).values(), strict=True)):
        tuned, own = MAKERS[name](), dict(zip(kernels(G), delta, strict=True))
        for weight, change in own.items():
            kernels(tuned)[weight].add_(change)
        assert_near(made[i : i + 1], tuned.synthesis(w_plus[i : i + 1]))
    assert not torch.allclose(made, G.synthesis(w_plus), atol=0.01)


@pytest.mark.parametrize("name", MAKERS)
def test_whole_changes_give_the_same_image_as_their_products(name: str) -> None:
    G = MAKERS[name]()
    state, w_plus = products(G), latents(G)
    assert_near(synthesise(G, w_plus, whole(G, state)), synthesise(G, w_plus, state))


@pytest.mark.parametrize("name", MAKERS)
def test_no_change_is_the_plain_image(name: str) -> None:
    G = MAKERS[name]()
    w_plus = latents(G)
    none = {k + DELTA: torch.zeros(3, *v.shape) for k, v in tunable_weights(G).items()}
    for state in (none, {k: 0 * v for k, v in products(G).items()}):
        assert_near(synthesise(G, w_plus, state), G.synthesis(w_plus))


@pytest.mark.parametrize("name", MAKERS)
def test_every_weight_counts(name: str) -> None:
    G = MAKERS[name]()
    w_plus = latents(G, 1)
    before = G.synthesis(w_plus)
    for weight, tensor in tunable_weights(G).items():
        change = {weight + DELTA: 0.5 * torch.ones(1, *tensor.shape)}
        assert not torch.equal(synthesise(G, w_plus, change), before), weight


def test_gradients_of_products_are_those_of_kernels() -> None:
    G = stylegan2()
    state, w_plus = products(G), latents(G)
    leaves = {name: tensor.requires_grad_() for name, tensor in state.items()}
    sums = [synthesise(G, w_plus, s).square().sum() for s in (leaves, whole(G, leaves))]
    for batched, alone in zip(
        *(torch.autograd.grad(s, list(leaves.values()), retain_graph=True) for s in sums),
        strict=True,
    ):
        torch.testing.assert_close(batched, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()))


def test_noise_and_weights_change_together() -> None:
    G = stylegan2()
    w_plus, maps = latents(G), torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(4))
    state = products(G) | {"b8.conv1.noise_const": maps}
    apart = whole(G, products(G)) | {"b8.conv1.noise_const": maps}
    made = synthesise(G, w_plus, state)
    assert_near(made, synthesise(G, w_plus, apart))
    assert not torch.allclose(made, synthesise(G, w_plus, products(G)), atol=0.01)


def test_a_change_of_another_generators_weight_is_refused() -> None:
    G = stylegan2()
    with pytest.raises(ValueError, match=r"got b99\.conv1\.weight.*draw it with the generator"):
        synthesise(G, latents(G), {"b99.conv1.weight" + DELTA: torch.zeros(3, 1)})


def test_a_cut_at_its_own_rank_loses_nothing_and_below_it_the_least() -> None:
    rng = torch.Generator().manual_seed(5)
    delta = torch.randn(2, 6, 3, generator=rng) @ torch.randn(2, 3, 20, generator=rng)
    up, down = truncate(delta.reshape(2, 6, 5, 2, 2), 3)
    torch.testing.assert_close(up @ down, delta, rtol=0, atol=1e-4)
    up, down = truncate(delta.reshape(2, 6, 5, 2, 2), 2)
    lost = (up @ down - delta).flatten(1).norm(dim=1)
    torch.testing.assert_close(lost, torch.linalg.svdvals(delta)[:, 2], rtol=1e-3, atol=1e-4)


def test_a_cut_leaves_vectors_and_what_would_grow() -> None:
    state = {
        "a" + DELTA: torch.randn(2, 8, 40),
        "b" + DELTA: torch.randn(2, 8),
        "c" + DELTA: torch.randn(2, 2, 3),
    }
    assert set(truncate_all(state, 2)) == {"a" + UP, "a" + DOWN, "b" + DELTA, "c" + DELTA}


def test_codes_are_within_half_a_level_and_small_things_stay() -> None:
    rng = torch.Generator().manual_seed(6)
    state = {
        "a" + DELTA: 1e-3 * torch.randn(2, 4, 5, 3, 3, generator=rng),
        "b" + UP: torch.randn(2, 40, 2, generator=rng) * torch.tensor([1.0, 100.0]),
        "c" + DELTA: torch.randn(2, 4, generator=rng),
        "d" + DELTA: torch.zeros(2, 1, 20),
    }
    kept = quantise(state)
    assert kept["a" + DELTA + CODES].dtype == torch.int8
    assert kept["a" + DELTA + PEAK].shape == (2, 4, 1, 1, 1)
    assert kept["b" + UP + PEAK].shape == (2, 1, 2)
    assert torch.equal(kept["c" + DELTA], state["c" + DELTA].half())
    again = dequantise(kept)
    for name, axes in (("a" + DELTA, (2, 3, 4)), ("b" + UP, (1,)), ("d" + DELTA, (2,))):
        level = state[name].abs().amax(axes, keepdim=True) / 127
        assert ((again[name] - state[name]).abs() <= 0.51 * level + 1e-8).all()


@pytest.mark.parametrize("is_coded", [False, True])
def test_a_row_of_changes_comes_back_from_its_bytes_and_gives_its_image(is_coded: bool) -> None:
    G = stylegan2()
    state, w_plus = products(G), latents(G)
    kept = quantise(state) if is_coded else {name: t.half() for name, t in state.items()}
    again = unpack([pack(kept, row) for row in range(3)])
    assert all(torch.equal(again[name], tensor) for name, tensor in kept.items())
    assert torch.equal(synthesise(G, w_plus, again), synthesise(G, w_plus, kept))
