"""The published code's numbers: ../shared/data/golden/idinvert, five steps of `StyleGANInverter`.

StyleGAN's generator and the narrow VGG16 are defined here, because only this test needs them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import conv2d, instance_norm, interpolate, leaky_relu, max_pool2d

from invertory.encoders import IdinvertEncoder
from invertory.images import to_tensor
from invertory.inversion import Inversion
from invertory.inversion.in_domain.optimisation import InDomain, diffuse

RUNS = ["default", "pix_only", "lr03_strong_feat"]


class StyleGAN:
    """StyleGAN's synthesis (Karras et al. 2019) at 64 px, with the names of idinvert's files."""

    resolution = preview_resolution = 64
    num_ws, w_dim = 10, 32

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = {k.removeprefix("synthesis."): v for k, v in tensors.items()}
        self.w_avg = tensors["truncation.w_avg"]

    def synthesis(self, w_plus: Tensor) -> Tensor:
        t = self.tensors
        x = self._epilogue(t["layer0.const"].expand(len(w_plus), -1, -1, -1), w_plus, 0)
        for i in range(1, self.num_ws):
            weight = t[f"layer{i}.conv.weight"]
            if i % 2 == 0:
                x = interpolate(x, scale_factor=2)
            x = conv2d(x, weight * math.sqrt(2 / weight[0].numel()), padding=1)
            if i % 2 == 0:
                x = conv2d(x, t[f"layer{i}.blur.kernel"], padding=1, groups=x.shape[1])
            x = self._epilogue(x, w_plus, i)
        weight = t["output4.conv.weight"]
        rgb = conv2d(x, weight / math.sqrt(weight.shape[1]), t["output4.bias"])
        return torch.tanh(rgb)

    def preview(self, w_plus: Tensor, min_px: int | None = None) -> Tensor:
        return self.synthesis(w_plus)

    def _epilogue(self, x: Tensor, w_plus: Tensor, i: int) -> Tensor:
        t, name = self.tensors, f"layer{i}.epilogue."
        noise = t[name + "apply_noise.noise"] * t[name + "apply_noise.weight"][:, None, None]
        x = leaky_relu(x + noise + t[name + "bias"][:, None, None], 0.2)
        dense = t[name + "style_mod.dense.fc.weight"] / math.sqrt(self.w_dim)
        style = w_plus[:, i] @ dense.T + t[name + "style_mod.dense.wscale.bias"]
        scale, shift = style.view(len(x), 2, -1, 1, 1).unbind(1)
        return instance_norm(x, eps=1e-8) * (scale + 1) + shift


class CaffeVgg:
    """Mean square of VGG16's relu4_3, on BGR from 0 to 255 minus the means."""

    name = "caffe_vgg"

    def __init__(self, folder: Path) -> None:
        told = json.loads((folder / "idinvert.json").read_text())["vgg_narrow"]
        self.means = torch.tensor(told["mean_bgr"]).view(1, 3, 1, 1)
        self.tensors = load_file(folder / "vgg_narrow.safetensors")

    def features(self, x: Tensor) -> list[Tensor]:
        x = (x.flip(1) + 1) * 127.5 - self.means
        for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21):  # torchvision's indices
            if i in (5, 10, 17):
                x = max_pool2d(x, 2)
            weight, bias = (self.tensors[f"layer{i}.{part}"] for part in ("weight", "bias"))
            x = torch.relu(conv2d(x, weight, bias, padding=1))
        return [x]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        return (fa[0] - fb[0]).square().mean((1, 2, 3))


@pytest.fixture(scope="module")
def folder(shared: Callable[[str], Path]) -> Path:
    return shared("data/golden/idinvert")


def encoder(folder: Path) -> IdinvertEncoder:
    told = json.loads((folder / "idinvert.json").read_text())["e64_bn"]
    given = told["init_kwargs"]
    config = {
        "resolution": given["resolution"],
        "num_ws": told["num_layers"],
        "w_dim": given["w_space_dim"],
        "channels_base": given["encoder_channels_base"],
        "channels_max": given["encoder_channels_max"],
    }
    return IdinvertEncoder.load(load_file(folder / "e64_bn.safetensors"), config)


def test_the_generator_of_these_tests_is_the_official_one(folder: Path) -> None:
    golden = np.load(folder / "g64.npz", allow_pickle=False)
    tensors = {name: t.double() for name, t in load_file(folder / "g64.safetensors").items()}
    made = StyleGAN(tensors).synthesis(torch.from_numpy(golden["wplus"]).double())
    # in float64, so that only the rounding of the reference itself is left (1.1e-5)
    expected = torch.from_numpy(golden["img_wplus_no_trunc"]).double()
    limit = 2e-5 * float(expected.abs().max())
    torch.testing.assert_close(made, expected, rtol=0, atol=limit)


def test_the_features_of_these_tests_are_the_official_ones(folder: Path) -> None:
    golden = np.load(folder / "vgg_narrow.npz", allow_pickle=False)
    feat = CaffeVgg(folder).features(torch.from_numpy(golden["x"]))[0]
    limit = 2e-5 * float(np.abs(golden["feat"]).max())
    torch.testing.assert_close(feat, torch.from_numpy(golden["feat"]), rtol=0, atol=limit)


def invert(folder: Path, run: str, steps: int) -> Inversion:
    told = json.loads((folder / "idinvert.json").read_text())["inverter"]
    settings: dict[str, Any] = told["defaults"] | told["runs"][run]
    method = InDomain(
        preset="code",
        steps=steps,
        learning_rate=settings["learning_rate"],
        mse_weight=settings["reconstruction_loss_weight"],
        perceptual_weight=settings["perceptual_loss_weight"],
        domain_weight=settings["regularization_loss_weight"],
    )
    golden = np.load(folder / "inverter.npz", allow_pickle=False)
    return method.invert(
        StyleGAN(load_file(folder / "g64.safetensors")),  # type: ignore[arg-type]
        to_tensor(golden["target_uint8"]),
        seeds=[0],
        perceptual=CaffeVgg(folder),
        batch_size=1,
        networks={"encoder": encoder(folder)},
    )


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_codes_and_losses_are_those_of_the_official_inverter(
    run: str, steps: int, folder: Path
) -> None:
    golden = np.load(folder / "inverter.npz", allow_pickle=False)
    found = invert(folder, run, steps)
    codes = torch.from_numpy(golden[f"{run}/codes"])
    expected = codes[steps - 1] if steps else torch.from_numpy(golden["init_code"])[0]
    torch.testing.assert_close(found.latents[0], expected, rtol=0, atol=1e-3 if steps else 2e-5)
    if steps < 5:  # the losses before each step
        names = {"mse": "loss_pix", "perceptual": "loss_feat", "domain": "loss_reg"}
        for term, values in found.terms.items():
            if f"{run}/{names[term]}" in golden:
                told = torch.from_numpy(golden[f"{run}/{names[term]}"][steps : steps + 1]).float()
                torch.testing.assert_close(values, told, rtol=1e-4, atol=0)
        total = torch.from_numpy(golden[f"{run}/loss"][steps : steps + 1]).float()
        torch.testing.assert_close(found.loss, total, rtol=1e-4, atol=0)


def test_semantic_diffusion_is_that_of_the_official_inverter(folder: Path) -> None:
    told = json.loads((folder / "idinvert.json").read_text())["diffuse"]
    golden = np.load(folder / "inverter.npz", allow_pickle=False)
    mask = torch.zeros(1, 1, 64, 64)
    top, left = told["center_y"] - told["crop_y"] // 2, told["center_x"] - told["crop_x"] // 2
    mask[..., top : top + told["crop_y"], left : left + told["crop_x"]] = 1
    found = diffuse(
        InDomain(steps=told["iteration"], perceptual_weight=told["perceptual_loss_weight"]),
        StyleGAN(load_file(folder / "g64.safetensors")),  # type: ignore[arg-type]
        to_tensor(golden["target_uint8"]),
        to_tensor(golden["diffuse/context_uint8"][0]),
        mask,
        seeds=[0],
        perceptual=CaffeVgg(folder),
        batch_size=1,
        networks={"encoder": encoder(folder)},
    )
    expected = torch.from_numpy(golden["diffuse/final_code"])
    torch.testing.assert_close(found.latents, expected, rtol=0, atol=1e-3)
