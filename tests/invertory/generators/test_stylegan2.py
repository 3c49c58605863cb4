"""Our StyleGAN2 against numbers from the official code (tolerances from the golden README)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from invertory.generators.stylegan2 import StyleGAN2, StyleGAN2Config
from invertory.generators.stylegan2_layers import Hooks

GOLDEN = Path(__file__).resolve().parents[3] / "../shared/data/golden/stylegan2_ada"
VARIANTS = ("m2", "m8", "clamp", "cond", "odd", "resnet", "orig", "fp16cfg")
MAPPING, IMAGES, GRADIENTS = 1e-6, 2e-5, 1e-4  # of the largest reference value


@pytest.fixture(scope="module")
def golden() -> Path:
    if not GOLDEN.is_dir():
        pytest.skip("../shared/data/golden/stylegan2_ada is absent: no official numbers to meet")
    return GOLDEN


def load(folder: Path, name: str) -> tuple[StyleGAN2, dict[str, Tensor]]:
    kwargs = json.loads((folder / "variants.json").read_text())[name]["init_kwargs"]
    config = StyleGAN2Config.from_nvidia(kwargs)
    tensors = load_file(folder / f"{name}.safetensors")
    generator = StyleGAN2.load(tensors, {f: getattr(config, f) for f in config.__slots__})
    with np.load(folder / f"{name}.npz", allow_pickle=False) as arrays:
        return generator, {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def assert_near(got: Tensor, expected: Tensor, tolerance: float) -> None:
    error = (got - expected).abs().max() / expected.abs().max()
    assert error <= tolerance, f"{error:.2e} of the largest value"


@pytest.mark.parametrize("name", VARIANTS)
def test_mapping_and_truncation(golden: Path, name: str) -> None:
    generator, ref = load(golden, name)
    w = generator.mapping(ref["z"], ref["c"])
    cut = {"truncation_psi": 0.5, "truncation_cutoff": int(ref["cutoff"])}
    assert_near(generator.broadcast(w), ref["w_psi1"], MAPPING)
    assert_near(generator.broadcast(w, truncation_psi=0.7), ref["w_psi07"], MAPPING)
    assert_near(generator.broadcast(w, **cut), ref["w_psi05_cutoff"], MAPPING)


@pytest.mark.parametrize("name", VARIANTS)
def test_images(golden: Path, name: str) -> None:
    generator, ref = load(golden, name)
    with torch.no_grad():
        for key in (k for k in ref if k.startswith(("img_const", "img_none"))):
            _, noise, latent = key.split("_", 2)
            w_plus = ref["wplus" if latent == "wplus" else f"w_{latent}"]
            got = generator.synthesis(w_plus, noise_mode=noise)
            assert_near(got, ref[key], IMAGES)


@pytest.mark.parametrize("name", VARIANTS)
def test_from_z_to_image(golden: Path, name: str) -> None:
    generator, ref = load(golden, name)
    with torch.no_grad():
        w_plus = generator.broadcast(generator.mapping(ref["z"], ref["c"]), truncation_psi=0.7)
        assert_near(generator.synthesis(w_plus), ref["img_forward_psi07_const"], IMAGES)


@pytest.mark.parametrize("name", ["m2", "m8", "clamp", "odd"])
def test_gradient_of_latent(golden: Path, name: str) -> None:
    generator, ref = load(golden, name)
    w_plus = ref["wplus"].requires_grad_()
    (generator.synthesis(w_plus) * ref["grad_r"]).sum().backward()
    assert w_plus.grad is not None
    assert_near(w_plus.grad, ref["grad_wplus"], GRADIENTS)


def test_gradient_of_noise(golden: Path) -> None:
    generator, ref = load(golden, "m2")
    noise = {n: b for n, b in generator.synthesis.named_buffers() if n.endswith("noise_const")}
    for buffer in noise.values():
        buffer.requires_grad_()
    (generator.synthesis(ref["wplus"]) * ref["grad_r"]).sum().backward()
    for name, buffer in noise.items():
        assert buffer.grad is not None
        assert_near(buffer.grad, ref[f"grad_noise/{name}"], GRADIENTS)


def test_features_of_each_block(golden: Path) -> None:
    generator, ref = load(golden, "m2")
    maps = generator.features(ref["wplus"][:1], generator.feature_names)
    for name, feature in maps.items():
        assert_near(feature, ref[f"x_{name}"], IMAGES)


@pytest.fixture
def small() -> StyleGAN2:
    """16 px, random weights, noise and strengths."""
    generator = StyleGAN2(z_dim=8, w_dim=8, img_resolution=16, channel_base=128, num_layers=2)
    rng = torch.Generator().manual_seed(0)
    for name, tensor in generator.state_dict().items():
        if not name.endswith("resample_filter"):
            tensor.copy_(torch.randn(tensor.shape, generator=rng))
    return generator


def latents(generator: StyleGAN2, n: int = 2) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    return torch.randn(n, generator.num_ws, generator.w_dim, generator=rng)


def test_block_hook_leaves_its_own_rgb_alone(small: StyleGAN2) -> None:
    w_plus = latents(small)
    last = Hooks(after_block={"b16": torch.zeros_like})
    assert torch.equal(small.synthesis(w_plus, hooks=last), small.synthesis(w_plus))
    inner = Hooks(after_block={"b8": lambda x: x + 1})
    assert not torch.allclose(small.synthesis(w_plus, hooks=inner), small.synthesis(w_plus))


def test_block_hook_sees_the_block_output(small: StyleGAN2) -> None:
    w_plus, seen = latents(small), {}
    small.synthesis(w_plus, hooks=Hooks(after_block={"b8": lambda x: seen.setdefault("b8", x)}))
    assert torch.equal(seen["b8"], small.features(w_plus, ("b8",))["b8"])


def test_conv_hook_replaces_before_noise_bias_and_activation(small: StyleGAN2) -> None:
    w_plus = latents(small)
    layer = small.synthesis.get_submodule("b16.conv1")
    inputs: list[Tensor] = []

    def replace(x: Tensor, w: Tensor) -> Tensor:
        inputs.extend([x, w])
        return torch.zeros_like(x)

    outputs: list[Tensor] = []
    hooks = Hooks({"b16.conv1": replace}, {"b16": lambda x: outputs.append(x) or x})
    small.synthesis(w_plus, hooks=hooks)
    noise = layer.noise_const * layer.noise_strength + layer.bias[:, None, None]
    expected = torch.nn.functional.leaky_relu(noise, 0.2) * 2**0.5
    torch.testing.assert_close(outputs[0], expected.expand_as(outputs[0]))
    assert inputs[0].shape == (2, 8, 16, 16)
    assert torch.equal(inputs[1], w_plus[:, 4])


def test_random_noise_comes_from_the_given_generator(small: StyleGAN2) -> None:
    w_plus = latents(small)

    def draw(seed: int) -> Tensor:
        rng = torch.Generator().manual_seed(seed)
        return small.synthesis(w_plus, noise_mode="random", rng=rng)

    assert torch.equal(draw(0), draw(0))
    assert not torch.allclose(draw(0), draw(1))
    with pytest.raises(ValueError, match=r"expected a torch\.Generator"):
        small.synthesis(w_plus, noise_mode="random")


def test_labels_are_asked_for() -> None:
    generator = StyleGAN2(z_dim=4, w_dim=4, c_dim=3, img_resolution=8, channel_base=32)
    with pytest.raises(ValueError, match=r"expected labels c \[2, 3\], got none"):
        generator.mapping(torch.zeros(2, 4))


@pytest.mark.parametrize(
    "kwargs",
    [{"synthesis_kwargs": {"activation": "relu"}}, {"magnitude_ema_beta": 0.999}],
)
def test_networks_that_are_not_stylegan2_are_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        StyleGAN2Config.from_nvidia(kwargs)
