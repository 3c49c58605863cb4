"""Spatially-adaptive inversion on a tiny StyleGAN2: spaces, state, edits, and refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from invertory.encoders import ResidualEncoder
from invertory.generators.f_space import features_of
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import untrained_head
from invertory.generators.state import pack, unpack
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion import Inversion
from invertory.inversion.drawing import draw_latents
from invertory.inversion.sam.objective import variation
from invertory.inversion.sam.optimisation import SpatiallyAdaptive
from invertory.perceptual import PixelPyramid

METHOD = SpatiallyAdaptive(steps=12, w_samples=200, tau=0.5)
RIGHT = slice(8, None)  # columns that are hard to invert


class Head(nn.Module):
    """A parser: a face on the left, and the background beside it."""

    segments = ("background", "skin")

    def segment(self, images: Tensor) -> Tensor:
        found = torch.zeros(len(images), *images.shape[2:], dtype=torch.uint8)
        found[:, :, :8] = 1
        return found


class Sides(nn.Module):
    """Predicts that the right half is impossible in W+ and hard in F2; also segments it."""

    spaces = ("W+", "F2")
    segments = ("easy", "hard")
    unit = torch.ones(())

    def forward(self, images: Tensor) -> Tensor:
        told = torch.full((len(images), 2, *images.shape[2:]), 0.1)
        told[:, 0, :, RIGHT] = 0.9
        return told

    def segment(self, images: Tensor) -> Tensor:
        found = torch.zeros(len(images), *images.shape[2:], dtype=torch.uint8)
        found[:, :, RIGHT] = 1
        return found


def generator() -> StyleGAN2:
    G = StyleGAN2(img_resolution=16, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
    return G.initialise(torch.Generator().manual_seed(1))


G = generator()


def encoder(num_ws: int = 6, w_dim: int = 8) -> nn.Module:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        made = ResidualEncoder(
            resolution=16, num_ws=num_ws, w_dim=w_dim, channels=(4, 8, 8), narrow=4, hidden=16
        )
    return made.eval().requires_grad_(False)


NETWORKS = {"encoder": encoder(), "invertibility": Sides(), "parser": Sides()}


def targets(n: int = 2) -> Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(3)) * 2 - 1


def invert(
    method: SpatiallyAdaptive, images: Tensor, batch_size: int = 4, **extra: Any
) -> Inversion:
    given: dict[str, Any] = {"networks": NETWORKS} | extra
    seeds, pixels = range(len(images)), PixelPyramid()
    return method.invert(G, images, seeds=seeds, perceptual=pixels, batch_size=batch_size, **given)


def test_the_hard_half_is_inverted_in_features_and_the_easy_one_is_not() -> None:
    found = invert(METHOD, targets())
    assert (found.maps["spaces"][:, :, :, RIGHT] == 1).all()
    assert (found.maps["spaces"][:, :, :, :8] == 0).all()
    assert found.maps["invertibility"][0, 0, 0].tolist() == pytest.approx([0.9] * 8 + [0.1] * 8)
    features = features_of(G, found.state, 2)
    assert (features.deltas["b8"][..., 5:].abs().amax((1, 2)) > 0).all()
    assert (features.deltas["b8"][..., :3] == 0).all()


def test_what_the_store_gives_back_has_the_loss_that_was_told() -> None:
    found, images = invert(METHOD, targets()), targets()
    state = unpack([pack(found.state, row) for row in range(2)])
    synth = draw_latents(METHOD, G, found.latents, state)
    told = (synth - images).square().mean((1, 2, 3))
    torch.testing.assert_close(told, found.terms["mse"], rtol=1e-4, atol=1e-6)


def test_finer_spaces_reconstruct_better() -> None:
    alone = {name: replace(METHOD, spaces=(name,)) for name in ("W+", "F2")}
    mse = {name: invert(method, targets()).terms["mse"] for name, method in alone.items()}
    assert (mse["F2"] < mse["W+"]).all()


def test_by_class_what_lies_beside_the_face_takes_the_finest_space() -> None:
    method = replace(METHOD, choice="classes")
    found = invert(method, targets(), networks={"encoder": encoder(), "parser": Head()})
    assert (found.maps["spaces"][:, :, :, RIGHT] == 1).all()  # a parser without `ood` is enough
    assert (found.maps["spaces"][:, :, :, :8] == 0).all()


def test_one_space_needs_an_encoder_alone_and_has_no_maps() -> None:
    method = replace(METHOD, spaces=("F2",))
    assert method.needs == ("encoder",)
    found = invert(method, targets(), networks={"encoder": encoder()})
    assert found.maps == {}
    assert (features_of(G, found.state, 2).masks["b8"] == 1).all()
    assert invert(replace(METHOD, spaces=("W+",)), targets()).state == {}


@pytest.mark.parametrize(
    ("choice", "needs", "maps"),
    [
        ("segments", ("encoder", "invertibility", "parser"), ("invertibility", "spaces")),
        ("pixels", ("encoder", "invertibility"), ("invertibility", "spaces")),
        ("classes", ("encoder", "parser"), ("spaces",)),
    ],
)
def test_each_choice_needs_its_networks_and_gives_its_maps(
    choice: Any, needs: tuple[str, ...], maps: tuple[str, ...]
) -> None:
    method = replace(METHOD, choice=choice, class_spaces={"hard": "finest"})
    assert (method.needs, method.maps) == (needs, maps)
    found = invert(method, targets(), networks={kind: NETWORKS[kind] for kind in needs})
    assert tuple(found.maps) == maps
    assert found.maps["spaces"][0, 0, 0].tolist() == [0] * 8 + [1] * 8


def test_rows_do_not_depend_on_their_batch() -> None:
    together = invert(METHOD, targets(3))
    alone = invert(METHOD, targets(3)[1:2])
    torch.testing.assert_close(together.latents[1], alone.latents[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(
        features_of(G, together.state, 3).deltas["b8"][1],
        features_of(G, alone.state, 1).deltas["b8"][0],
        rtol=0,
        atol=1e-2,  # one level of 8 bits
    )


def test_a_segmentation_takes_the_parsers_place() -> None:
    upper = torch.zeros(2, 16, 16, dtype=torch.int64)
    upper[:, :8] = 4
    networks = {kind: NETWORKS[kind] for kind in ("encoder", "invertibility")}
    method = replace(METHOD, tau=0.6)  # both halves have a mean of 0.5
    found = invert(method, targets(), networks=networks, segmentation=upper)
    assert (found.maps["spaces"] == 0).all()
    with pytest.raises(ValueError, match=r"expected a segmentation \[2, 16, 16\]"):
        invert(METHOD, targets(), segmentation=upper[:, :8])
    with pytest.raises(ValueError, match="of integers"):
        invert(METHOD, targets(), segmentation=upper.float())


def test_an_edit_leaves_the_masked_features_alone() -> None:
    found = invert(METHOD, targets())
    edited = found.latents.clone()
    edited[:, :3] += 1  # rows of b4 and b8
    plain = draw_latents(METHOD, G, found.latents, found.state)
    moved = {
        preset: (
            draw_latents(
                replace(METHOD, preset=preset), G, edited, found.state, origin=found.latents
            )
            - plain
        )
        .abs()
        .mean((0, 1, 2))
        for preset in ("code", "paper")
    }
    assert moved["paper"][:6].mean() > 3 * moved["paper"][10:].mean()
    assert moved["code"][10:].mean() > 2 * moved["paper"][10:].mean()  # skip connections


def test_without_its_regulariser_features_go_further() -> None:
    held = invert(METHOD, targets())
    free = invert(replace(METHOD, delta_weight=0.0), targets())
    assert "delta" not in free.terms
    sizes = [features_of(G, x.state, 2).deltas["b8"].square().mean() for x in (held, free)]
    assert sizes[1] > sizes[0]


def test_presets_differ_in_the_square() -> None:
    w_plus = torch.zeros(1, 3, 4)
    w_plus[:, 1] = 3.0
    assert variation(w_plus, is_squared=False).item() == pytest.approx(6.0)
    assert variation(w_plus, is_squared=True).item() == pytest.approx(36.0)


def test_a_previews_features_are_those_of_its_blocks() -> None:
    mobile = MobileStyleGAN(channels=(16, 16, 8), w_dim=12, mapping_layers=2)
    rng = torch.Generator().manual_seed(0)
    for tensor in mobile.state_dict().values():
        tensor.copy_(0.3 * torch.randn(tensor.shape, generator=rng))
    mobile.attach_preview(untrained_head(mobile, 8))
    networks = {"encoder": encoder(num_ws=1, w_dim=12)}
    method = replace(METHOD, spaces=("F2",), preview=True, loss_px=8, steps=4)

    def run(method: SpatiallyAdaptive) -> Inversion:
        pixels = PixelPyramid()
        return method.invert(
            mobile, targets(), seeds=[1, 2], perceptual=pixels, batch_size=2, networks=networks
        )

    assert features_of(mobile, run(method).state, 2).deltas["b8"].abs().max() > 0
    with pytest.raises(ValueError, match="at most 8 px with preview, got F4"):
        run(replace(method, spaces=("F4",)))


def test_spaces_that_there_are_not_and_missing_networks_are_named() -> None:
    with pytest.raises(ValueError, match=r"among W\+, F2, each once, got F10"):
        invert(replace(METHOD, spaces=("W+", "F10")), targets())
    with pytest.raises(ValueError, match=r"'invertibility'.*choice to classes"):
        invert(METHOD, targets(), networks={"encoder": encoder()})
    without = {kind: NETWORKS[kind] for kind in ("encoder", "invertibility")}
    with pytest.raises(ValueError, match=r"'parser'.*segmentation="):
        invert(METHOD, targets(), networks=without)


class Unsure(Sides):
    """Predicts NaN for dark images."""

    def forward(self, images: Tensor) -> Tensor:
        told = super().forward(images)
        told[images.mean((1, 2, 3)) < 0] = torch.nan
        return told


def test_a_image_of_no_known_errors_is_rejected_alone() -> None:
    images = targets()
    images[0], images[1] = -images[0].abs(), images[1].abs()
    found = invert(METHOD, images, networks=NETWORKS | {"invertibility": Unsure()})
    assert found.is_finite.tolist() == [False, True]
    assert found.steps.tolist() == [0, 12]
    assert found.latents.isfinite().all()
    alone = invert(METHOD, images[1:])
    torch.testing.assert_close(found.latents[1:], alone.latents, rtol=0, atol=1e-4)
    assert found.refused == {0: "the invertibility predictor gave a non-finite error"}


@pytest.mark.parametrize("settings", [{"choice": "pixels"}, {"spaces": ("F2",)}])
def test_a_segmentation_that_nothing_looks_at_is_refused(settings: dict[str, Any]) -> None:
    given = torch.zeros(2, 16, 16, dtype=torch.int64)
    with pytest.raises(ValueError, match="expected no segmentation with"):
        invert(replace(METHOD, **settings), targets(), segmentation=given)


def test_a_given_class_has_to_be_the_parsers() -> None:
    given = torch.zeros(2, 16, 16, dtype=torch.int64)
    given[:, :, RIGHT] = 1
    method = replace(METHOD, choice="classes", class_spaces={"hard": "F2"})
    found = invert(method, targets(), segmentation=given)
    assert found.maps["spaces"][0, 0, 0].tolist() == [0] * 8 + [1] * 8
    with pytest.raises(ValueError, match="of the 2 segments easy, hard, got 0 to 99"):
        invert(method, targets(), segmentation=given * 99)


def test_segments_to_fuse_that_the_parser_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="got nonsense"):
        invert(replace(METHOD, fused=("easy", "nonsense")), targets())
