"""State: tensors that replace a generator's buffers, row by row, and their bytes."""

from __future__ import annotations

import pytest
import torch

from invertory.generators.state import pack, synthesise, unpack
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator


def random_generator() -> StyleGAN2:
    G = StyleGAN2(img_resolution=8, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
    rng = torch.Generator().manual_seed(0)
    for tensor in [*G.parameters(), *G.buffers()]:
        tensor.copy_(torch.randn(tensor.shape, generator=rng))
    return G


def assert_near(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Within 2e-5 of the largest value, as pictures of float32 are of the references."""
    limit = 2e-5 * float(expected.abs().max())
    torch.testing.assert_close(found, expected, rtol=0, atol=limit)


def test_the_generators_own_buffers_change_nothing() -> None:
    G = random_generator()
    w_plus = torch.randn(2, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(1))
    own = G.synthesis.b8.conv1.noise_const  # type: ignore[union-attr]
    state = {"b8.conv1.noise_const": own.expand(2, 1, -1, -1)}
    assert_near(synthesise(G, w_plus, state), G.synthesis(w_plus))


def test_every_row_has_its_own_state_and_the_buffers_stay() -> None:
    G = random_generator()
    w_plus = torch.randn(2, G.num_ws, G.w_dim, generator=torch.Generator().manual_seed(1))
    maps = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    before = G.synthesis(w_plus)
    together = synthesise(G, w_plus, {"b8.conv1.noise_const": maps})
    alone = synthesise(G, w_plus[1:], {"b8.conv1.noise_const": maps[1:]})
    assert_near(together[1:], alone)
    assert not torch.allclose(together, before)
    assert torch.equal(G.synthesis(w_plus), before)


def test_a_state_of_another_generator_is_refused() -> None:
    G = ToyGenerator(resolution=8, frequencies=2)
    with pytest.raises(ValueError, match="draw it with the generator"):
        synthesise(G, G.w_avg.expand(1, 4, -1), {"b8.conv1.noise_const": torch.zeros(1, 1, 8, 8)})


def test_a_row_comes_back_from_its_bytes() -> None:
    state = {"a": torch.randn(3, 1, 4, 4), "b": torch.randn(3, 2)}
    again = unpack([pack(state, row) for row in range(3)])
    for name, tensor in state.items():
        assert torch.equal(again[name], tensor.half())
