"""The toy generator is linear, orthogonal, exactly invertible, and independent of the batch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from invertory.generators.toy import GAIN, ToyGenerator


@pytest.fixture(scope="module")
def toy() -> ToyGenerator:
    return ToyGenerator(seed=3)


def latents(toy: ToyGenerator, n: int) -> Tensor:
    return torch.randn(n, toy.num_ws, toy.w_dim, generator=torch.Generator().manual_seed(n))


def test_inversion_returns_the_very_latent(toy: ToyGenerator) -> None:
    w_plus = latents(toy, 5)
    torch.testing.assert_close(toy.invert_exactly(toy.synthesis(w_plus)), w_plus)


def test_inversion_of_a_foreign_image_is_its_projection(toy: ToyGenerator) -> None:
    image = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    residue = image - toy.synthesis(toy.invert_exactly(image))
    torch.testing.assert_close(toy.invert_exactly(residue), torch.zeros(2, 4, 48))


def test_basis_is_orthonormal_so_distances_are_kept(toy: ToyGenerator) -> None:
    a, b = latents(toy, 2)[:, None].unbind(0)
    pixels = (toy.synthesis(a) - toy.synthesis(b)).norm()
    torch.testing.assert_close(pixels, GAIN * (a - b).norm())


def test_each_row_makes_its_own_tile(toy: ToyGenerator) -> None:
    w_plus = latents(toy, 1)
    moved = w_plus.clone()
    moved[:, 1] += 1
    changed = (toy.synthesis(moved) - toy.synthesis(w_plus)).abs().amax(1)[0]
    assert changed[:16, 16:].max() > 0.1
    changed[:16, 16:] = 0
    assert changed.max() == 0


def test_images_are_about_in_range(toy: ToyGenerator) -> None:
    z = torch.randn(200, toy.z_dim, generator=torch.Generator().manual_seed(0))
    images = toy.synthesis(toy.mapping(z)[:, None].expand(-1, 4, -1))
    assert 0.3 < images.std() < 0.5
    assert (images.abs() > 1).float().mean() < 0.05


def test_rows_are_bitwise_independent_of_their_batch(toy: ToyGenerator) -> None:
    w_plus = latents(toy, 7)
    z = torch.randn(7, toy.z_dim, generator=torch.Generator().manual_seed(0))
    images, codes = toy.synthesis(w_plus), toy.mapping(z)
    for i in range(7):
        assert torch.equal(toy.synthesis(w_plus[i : i + 1]), images[i : i + 1])
        assert torch.equal(toy.mapping(z[i : i + 1]), codes[i : i + 1])


def test_mapping_is_a_rotation_about_the_mean(toy: ToyGenerator) -> None:
    z = torch.randn(3, toy.z_dim, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close((toy.mapping(z) - toy.w_avg).norm(dim=1), z.norm(dim=1))


def test_a_seed_names_a_generator() -> None:
    assert torch.equal(ToyGenerator(seed=3).basis, ToyGenerator(seed=3).basis)
    assert not torch.equal(ToyGenerator(seed=3).basis, ToyGenerator(seed=4).basis)


def test_other_sizes_invert_too() -> None:
    toy = ToyGenerator(seed=1, resolution=16, frequencies=3)
    w_plus = latents(toy, 2)
    assert toy.synthesis(w_plus).shape == (2, 3, 16, 16)
    torch.testing.assert_close(toy.invert_exactly(toy.synthesis(w_plus)), w_plus)


@pytest.mark.parametrize(("resolution", "frequencies"), [(15, 2), (16, 0), (16, 9)])
def test_impossible_sizes_are_refused(resolution: int, frequencies: int) -> None:
    with pytest.raises(ValueError, match="expected an even resolution"):
        ToyGenerator(resolution=resolution, frequencies=frequencies)
