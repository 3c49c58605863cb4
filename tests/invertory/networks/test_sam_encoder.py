"""SAM's encoders before training, and the effect of their maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders.residual import ResidualEncoder
from invertory.generators import Generator
from invertory.generators.f_space import default_spaces, synthesise_with
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator
from invertory.networks import build
from invertory.networks.sam_encoder import SamEncoder
from invertory.training.optimiser import seeded


def stylegan2(px: int = 32, w_dim: int = 8) -> StyleGAN2:
    G = StyleGAN2(img_resolution=px, z_dim=8, w_dim=w_dim, num_layers=1, channel_base=256)
    return G.initialise(torch.Generator().manual_seed(1))


def mobile_stylegan() -> MobileStyleGAN:
    generator = MobileStyleGAN(channels=(16, 16, 8), w_dim=12, mapping_layers=2)
    rng = torch.Generator().manual_seed(0)
    for tensor in generator.state_dict().values():
        tensor.copy_(0.5 * torch.randn(tensor.shape, generator=rng))
    return generator


G = stylegan2()
GENERATORS: dict[str, Generator] = {
    "stylegan2": G,
    "mobile_stylegan": mobile_stylegan(),
    "toy": ToyGenerator(resolution=32),
}


def base_for(generator: Generator, px: int = 32) -> ResidualEncoder:
    channels = (4,) * (px.bit_length() - 2)
    sizes = {"resolution": px, "num_ws": generator.num_ws, "w_dim": generator.w_dim}
    return seeded(lambda: ResidualEncoder(**sizes, channels=channels, narrow=4, hidden=8), 0).eval()  # type: ignore[arg-type]


def fresh(generator: Generator = G) -> SamEncoder:
    base, spaces = base_for(generator), default_spaces(generator)
    encoder = seeded(lambda: SamEncoder.from_base(generator, base, spaces, hidden=8, depth=1), 0)
    return encoder.eval().requires_grad_(False)


def moved(generator: Generator = G) -> SamEncoder:
    """Randomise the zero-initialised last layers, as if trained."""
    encoder, rng = fresh(generator), torch.Generator().manual_seed(3)
    for tensor in encoder.parameters():
        if not tensor.any():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=rng))
    return encoder


def images(n: int = 2, px: int = 32) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(7)) * 2 - 1


def everywhere(space: int, n: int = 2, px: int = 32) -> Tensor:
    return torch.full((n, px, px), space, dtype=torch.uint8)


@pytest.mark.parametrize("name", GENERATORS)
def test_a_fresh_one_gives_the_image_of_the_encoder_it_began_as(name: str) -> None:
    generator = GENERATORS[name]
    encoder = fresh(generator)
    expected = generator.synthesis(base_for(generator)(images()))
    for space in range(len(encoder.spaces)):
        formed = encoder.form(generator, images(), everywhere(space))
        assert torch.equal(formed.images, expected)
    assert torch.equal(encoder(images()), base_for(generator)(images()))


def test_all_in_w_plus_changes_no_feature() -> None:
    encoder = moved()
    formed = encoder.form(G, images(), everywhere(0))
    assert not any(delta.any() for delta in formed.features.deltas.values())
    assert torch.equal(formed.images, G.synthesis(formed.w_plus))


def test_a_space_changes_its_own_feature_and_only_inside_its_mask() -> None:
    encoder, choice = moved(), everywhere(0)
    left = encoder.spaces.index("F4")
    choice[:, :, :16] = left
    features = encoder.form(G, images(), choice).features
    changed = {block: bool(delta.any()) for block, delta in features.deltas.items()}
    assert changed == {"b8": False, "b16": True}
    assert features.deltas["b16"][..., :7].all()
    assert not features.deltas["b16"][..., 9:].any()


def test_the_code_depends_on_the_map_once_it_has_learnt_to() -> None:
    encoder = moved()
    one, other = encoder(images(), everywhere(0)), encoder(images(), everywhere(1))
    assert not torch.allclose(one, other)


def test_encoding_gives_what_forming_draws() -> None:
    encoder, choice = moved(), everywhere(0)
    choice[:, 8:] = 2
    formed = encoder.form(G, images(), choice)
    w_plus, features = encoder.encode(G, images(), choice)
    assert torch.equal(w_plus, formed.w_plus)
    torch.testing.assert_close(synthesise_with(G, w_plus, features), formed.images)


def test_a_row_does_not_depend_on_the_others() -> None:
    encoder, choice = moved(), everywhere(2)
    both = encoder.form(G, images(), choice).images
    alone = encoder.form(G, images()[1:], choice[1:]).images
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-4)


def test_finer_images_are_reduced() -> None:
    fine = images().repeat_interleave(2, 2).repeat_interleave(2, 3)
    encoder = moved()
    made = encoder.form(G, fine, everywhere(2, px=64)).images
    expected = encoder.form(G, images(), everywhere(2)).images
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-3)


def test_a_card_gives_the_network_back() -> None:
    made = moved()
    again = build("sam_encoder", made.config, made.state_dict())
    assert isinstance(again, SamEncoder)
    one, other = (e.form(G, images(), everywhere(1)).images for e in (made, again))
    assert torch.equal(one, other)


def test_the_norms_of_the_base_keep_their_statistics_in_training() -> None:
    encoder = fresh().train()
    before = {name: tensor.clone() for name, tensor in encoder.base.named_buffers()}  # type: ignore[attr-defined]
    encoder.form(G, images(), everywhere(2))
    after = dict(encoder.base.named_buffers())  # type: ignore[attr-defined]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(module.training for module in encoder.deltas.modules())


def test_changes_are_in_deviations_of_the_feature() -> None:
    encoder, choice = moved(), everywhere(1)
    feature = torch.randn(64, 32, 8, 8, generator=torch.Generator().manual_seed(0)) * 5
    before = encoder.form(G, images(), choice).features.deltas["b8"].square().mean()
    encoder.set_statistics({"F2": feature})
    torch.testing.assert_close(
        encoder.deltas["F2"].scale.mean(), torch.tensor(5.0), rtol=0.05, atol=0
    )  # type: ignore[union-attr,arg-type]
    after = encoder.form(G, images(), choice).features.deltas["b8"].square().mean()
    assert after > 4 * before


def test_an_encoder_for_another_generator_is_refused() -> None:
    for other in (stylegan2(w_dim=12), stylegan2(px=64)):
        with pytest.raises(ValueError, match="trained for this generator"):
            fresh().check_fits(other)


def test_a_space_that_the_generator_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="got F8"):
        SamEncoder.from_base(G, base_for(G), ("F8",))


def test_a_base_of_no_known_family_is_refused() -> None:
    with pytest.raises(ValueError, match="got a Linear"):
        SamEncoder.from_base(G, nn.Linear(2, 2), ())
    with pytest.raises(ValueError, match="expected a base among"):
        SamEncoder(base={"name": "vit", "config": {}}, shapes={})


def test_a_map_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="resize it to the images' size"):
        fresh().form(G, images(), everywhere(0, px=16))


def test_a_map_of_an_unknown_space_is_refused() -> None:
    with pytest.raises(ValueError, match="from 0 to 2"):
        fresh().form(G, images(), everywhere(3))
