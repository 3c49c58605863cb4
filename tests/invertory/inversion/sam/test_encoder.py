"""SAM by encoders: the chosen spaces, an untrained network's output, and what an edit keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders.residual import ResidualEncoder
from invertory.generators.state import pack, unpack
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion import Inversion
from invertory.inversion.drawing import draw_latents
from invertory.inversion.sam.encoder import SamByEncoder
from invertory.networks.sam_encoder import SamEncoder
from invertory.perceptual import PixelPyramid
from invertory.training.optimiser import seeded

G = StyleGAN2(img_resolution=32, z_dim=8, w_dim=8, num_layers=1, channel_base=256)
G.initialise(torch.Generator().manual_seed(1))
LEFT = slice(None, 16)


class Hard(nn.Module):
    """Predicts that the left half needs the last space, and that the right half is easy."""

    spaces = ("W+", "F2", "F4")
    unit = torch.tensor(0.5)

    def forward(self, x: Tensor) -> Tensor:
        errors = torch.zeros(len(x), 3, *x.shape[2:])
        errors[:, :2, :, LEFT] = 1  # twice the unit
        return errors


class Halves(nn.Module):
    """Segments the left and right halves; the left one starts one column early."""

    segments = ("left", "right")

    def segment(self, x: Tensor) -> Tensor:
        return (torch.arange(x.shape[-1]) >= 15).long().expand(len(x), x.shape[2], -1)


def base() -> ResidualEncoder:
    sizes = {"resolution": 32, "num_ws": G.num_ws, "w_dim": 8, "channels": (4,) * 4}
    return seeded(lambda: ResidualEncoder(**sizes, narrow=4, hidden=8), 0).eval()  # type: ignore[arg-type]


def encoder(*, is_fresh: bool = False) -> SamEncoder:
    made = seeded(lambda: SamEncoder.from_base(G, base(), ("F2", "F4"), hidden=8, depth=1), 0)
    made = made.eval().requires_grad_(False)
    rng = torch.Generator().manual_seed(3)
    for tensor in made.parameters():
        if not is_fresh and not tensor.any():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=rng))
    return made


def networks(*, is_fresh: bool = False) -> dict[str, nn.Module]:
    return {
        "sam_encoder": encoder(is_fresh=is_fresh),
        "invertibility": Hard(),
        "parser": Halves(),
    }


def images(n: int = 2, px: int = 32) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(7)) * 2 - 1


def invert(method: SamByEncoder, given: Mapping[str, nn.Module], **more: Any) -> Inversion:
    shown = more.get("targets", images())
    return method.invert(
        more.get("generator", G),
        shown,
        seeds=range(len(shown)),
        perceptual=PixelPyramid(),
        batch_size=2,
        networks=given,
    )


def test_a_fresh_network_gives_the_image_of_its_base() -> None:
    found = invert(SamByEncoder(), networks(is_fresh=True))
    expected = base()(images())
    assert torch.equal(found.latents, expected)
    made = draw_latents(SamByEncoder(), G, found.latents, found.state)
    assert torch.equal(made, G.synthesis(expected))


def test_the_hard_segment_goes_to_the_finest_space() -> None:
    method = SamByEncoder()
    found = invert(method, networks())
    assert method.maps == tuple(sorted(found.maps)) == ("invertibility", "spaces")
    assert (found.maps["spaces"][..., :15] == 1).all()
    assert (found.maps["spaces"][..., 16:] == 0).all()
    assert (found.maps["invertibility"][..., :16] == 0).all()
    assert (found.maps["invertibility"][..., 16:] == 1).all()
    assert all(found.maps[name].shape == (2, 1, 32, 32) for name in method.maps)


def test_the_losses_told_are_those_of_the_image_that_is_drawn_from_the_store() -> None:
    found = invert(SamByEncoder(), networks())
    state = unpack([pack(found.state, row) for row in range(2)])
    made = draw_latents(SamByEncoder(), G, found.latents, state)
    mse = (made - images()).square().mean((1, 2, 3))
    torch.testing.assert_close(found.terms["mse"], mse, rtol=1e-4, atol=1e-5)
    assert found.terms["mse"].isfinite().all()


def test_an_edit_moves_all_of_a_image_that_has_no_feature() -> None:
    method = SamByEncoder(spaces=("W+",))
    found = invert(method, networks())
    edited = found.latents + 0.5
    made = draw_latents(method, G, edited, found.state, origin=found.latents)
    assert torch.equal(made, G.synthesis(edited))


def test_an_edit_of_early_layers_leaves_a_later_feature_alone() -> None:
    method = SamByEncoder(spaces=("F4",), preset="paper")
    found = invert(method, networks())
    edited = found.latents.clone()
    edited[:, :4] += 0.5  # all rows that b4, b8 and b16's convolutions read before their RGB
    plain = draw_latents(method, G, found.latents, found.state)
    made = draw_latents(method, G, edited, found.state, origin=found.latents)
    torch.testing.assert_close(made, plain, rtol=0, atol=1e-3)
    assert (G.synthesis(edited) - G.synthesis(found.latents)).abs().max() > 0.05


def test_one_space_needs_the_encoders_alone() -> None:
    for name in ("W+", "F2", "F4"):
        method = SamByEncoder(spaces=(name,))
        assert method.needs == ("sam_encoder",)
        found = invert(method, {"sam_encoder": encoder()})
        assert found.maps == {}
        masks = {k.partition(":")[0]: bool(v.any()) for k, v in found.state.items() if "mask" in k}
        assert masks == {"mask.b8": name == "F2", "mask.b16": name == "F4"}


def test_pixels_and_classes_are_ablations_of_the_choice() -> None:
    by_pixel = SamByEncoder(choice="pixels")
    assert by_pixel.needs == ("sam_encoder", "invertibility")
    spaces = invert(by_pixel, networks()).maps["spaces"]
    assert (spaces[..., LEFT] == 1).all()
    assert (spaces[..., 16:] == 0).all()
    by_class = SamByEncoder(choice="classes", class_spaces={"right": "F2"})
    assert by_class.needs == ("sam_encoder", "parser")
    found = invert(by_class, networks())
    assert by_class.maps == tuple(found.maps) == ("spaces",)
    assert (found.maps["spaces"][..., 15:] == 0.5).all()


def test_a_higher_tau_keeps_more_in_w_plus() -> None:
    found = invert(SamByEncoder(tau=2.5), networks())
    assert (found.maps["spaces"] == 0).all()


def test_fewer_spaces_are_chosen_among() -> None:
    found = invert(SamByEncoder(spaces=("W+", "F2")), networks())
    masks = {name.partition(":")[0] for name, tensor in found.state.items() if tensor.any()}
    assert "mask.b8" in masks
    assert "mask.b16" not in masks


def test_finer_images_get_their_map_at_their_size() -> None:
    fine = images().repeat_interleave(2, 2).repeat_interleave(2, 3)
    one, other = (
        invert(SamByEncoder(), networks()),
        invert(SamByEncoder(), networks(), targets=fine),
    )
    torch.testing.assert_close(one.latents, other.latents, rtol=0, atol=1e-3)
    assert torch.equal(one.maps["spaces"], other.maps["spaces"])


def test_a_broken_image_leaves_a_state_that_can_be_drawn() -> None:
    broken = images()
    broken[0] = torch.nan
    found = invert(SamByEncoder(), networks(), targets=broken)
    assert found.is_finite.tolist() == [False, True]
    assert draw_latents(SamByEncoder(), G, found.latents, found.state).isfinite().all()
    alone = invert(SamByEncoder(), networks(), targets=images()[1:])
    torch.testing.assert_close(found.latents[1:], alone.latents, rtol=0, atol=1e-4)


def test_encoders_for_another_generator_are_refused() -> None:
    other = StyleGAN2(img_resolution=32, z_dim=8, w_dim=12, num_layers=1, channel_base=256)
    with pytest.raises(ValueError, match="trained for this generator"):
        invert(SamByEncoder(), networks(), generator=other)


def test_a_network_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="got a ResidualEncoder"):
        invert(SamByEncoder(), networks() | {"sam_encoder": base()})


def test_a_space_that_was_not_trained_is_refused() -> None:
    with pytest.raises(ValueError, match="got F6"):
        invert(SamByEncoder(spaces=("F6",)), networks())


def test_a_segmentation_may_be_given() -> None:
    top = torch.zeros(2, 32, 32, dtype=torch.int64)
    top[:, :16] = 1
    given = {name: network for name, network in networks().items() if name != "parser"}
    found = SamByEncoder(tau=0.5).invert(
        G,
        images(),
        seeds=range(2),
        perceptual=PixelPyramid(),
        batch_size=2,
        networks=given,
        segmentation=top,
    )
    assert (found.maps["spaces"] == 1).all()  # the left of each half of the image is hard
    with pytest.raises(ValueError, match=r"expected a segmentation \[2, 32, 32\]"):
        SamByEncoder().invert(
            G,
            images(),
            seeds=range(2),
            perceptual=PixelPyramid(),
            batch_size=2,
            networks=given,
            segmentation=top[:, :16],
        )


class Unsure(Hard):
    """Predicts NaN for the first image."""

    def forward(self, x: Tensor) -> Tensor:
        is_first = (x == images()[:1]).flatten(1).all(1)[:, None, None, None]
        return super().forward(x).where(~is_first, torch.nan)


def test_a_image_of_no_known_errors_is_rejected_alone() -> None:
    found = invert(SamByEncoder(), networks() | {"invertibility": Unsure()})
    assert found.is_finite.tolist() == [False, True]
    assert list(found.refused) == [0]
    assert draw_latents(SamByEncoder(), G, found.latents, found.state).isfinite().all()


def test_spaces_are_checked_against_the_encoders_card() -> None:
    told = {"sam_encoder": encoder().config}
    SamByEncoder(spaces=("W+", "F4")).check(G, told)
    with pytest.raises(ValueError, match="got F6: the encoders were trained for no others"):
        SamByEncoder(spaces=("W+", "F6")).check(G, told)
    with pytest.raises(ValueError, match="32 px has no finer"):
        SamByEncoder(spaces=("W+", "F6")).check(G, {})
