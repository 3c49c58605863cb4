"""The layers of StyleGAN2 (see stylegan2.py for the papers), parameters laid out as NVIDIA's files.

Convolutions are modulated by scaling the activations before and after one shared kernel, which is
equal to scaling the kernel per sample (section 2.2 of 1912.04958) and needs no grouped convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from invertory.generators.stylegan2_ops import bias_lrelu, conv2d_up2x, fir_filter, upsample2x

NoiseMode = Literal["const", "none", "random"]


@dataclass(frozen=True, slots=True)
class Hooks:
    """Places where an inversion may reach into the synthesis.

    `after_conv["b32.conv0"]`: (x [N, C, H, W], w [N, w_dim]) => x, after the modulated convolution
    and before noise, bias and activation (SAMM). `after_block["b32"]`: x => x, after the block's
    last convolution; the block's own RGB is made from what came in (SAM).
    """

    after_conv: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    after_block: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pass:
    """What one run through the synthesis carries besides features."""

    noise_mode: NoiseMode = "const"
    rng: torch.Generator | None = None  # for `random`
    hooks: Hooks = field(default_factory=Hooks)


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate: weights are stored over `lr_multiplier`."""

    def __init__(
        self, inputs: int, outputs: int, *, lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        self.bias_gain = lr_multiplier
        self.weight_gain = lr_multiplier / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight * self.weight_gain, self.bias * self.bias_gain)


class SynthesisLayer(nn.Module):
    """Modulated, demodulated 3x3 convolution, noise, bias, leaky ReLU; `up` doubles the size."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        name: str,
        fan: tuple[int, int],
        w_dim: int,
        size_px: int,
        *,
        up: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        inputs, outputs = fan
        self.name, self.up, self.clamp = name, up, clamp
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.zeros(size_px, size_px))
        self.register_buffer("resample_filter", fir_filter())

    def forward(self, x: Tensor, w: Tensor, run: Pass, gain: float = 1.0) -> Tensor:
        """x [N, I, H, W], w [N, w_dim] => [N, O, size, size]."""
        style = self.affine(w)  # [N, I]
        x = x * style[:, :, None, None]
        if self.up:
            x = conv2d_up2x(x, self.weight, self.resample_filter)
        else:
            x = conv2d(x, self.weight, padding=1)
        energy = self.weight.square().sum((2, 3))  # [O, I]
        x = x * torch.rsqrt(style.square() @ energy.T + 1e-8)[:, :, None, None]  # equation 3
        if self.name in run.hooks.after_conv:
            x = run.hooks.after_conv[self.name](x, w)
        clamp = None if self.clamp is None else self.clamp * gain
        return bias_lrelu(self._add_noise(x, run), self.bias, gain=math.sqrt(2) * gain, clamp=clamp)

    def _add_noise(self, x: Tensor, run: Pass) -> Tensor:
        if run.noise_mode == "none":
            return x
        if run.noise_mode == "const":
            return x + self.noise_const * self.noise_strength
        if run.rng is None:
            raise ValueError(
                "expected a torch.Generator with noise_mode 'random', got none; pass rng=..., or "
                "noise_mode='const', so that a latent names one picture"
            )
        shape = (x.shape[0], 1, *x.shape[2:])
        noise = torch.randn(shape, generator=run.rng, device=run.rng.device)
        return x + noise.to(x) * self.noise_strength


class ToRGB(nn.Module):
    """Modulated 1x1 convolution without demodulation, bias."""

    def __init__(self, inputs: int, channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.zeros(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) / math.sqrt(x.shape[1])
        x = conv2d(x * style[:, :, None, None], self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class SkipConv(nn.Module):
    """1x1 convolution that doubles the size, for residual blocks; no bias."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 1, 1))
        self.register_buffer("resample_filter", fir_filter())

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight / math.sqrt(x.shape[1])
        return conv2d_up2x(x, weight, self.resample_filter)


class SynthesisBlock(nn.Module):
    """One resolution: (conv0 that doubles, unless the first), conv1, and RGB where there is one."""

    resample_filter: Tensor

    def __init__(
        self,
        size_px: int,
        fan: tuple[int, int],
        w_dim: int,
        *,
        img_channels: int,
        architecture: str,
        clamp: float | None,
        is_last: bool,
    ) -> None:
        super().__init__()
        inputs, outputs = fan
        self.name, self.is_first = f"b{size_px}", size_px == 4
        self.register_buffer("resample_filter", fir_filter())
        self.conv0 = self.skip = self.torgb = None
        if self.is_first:
            self.const = nn.Parameter(torch.zeros(outputs, 4, 4))
        else:
            self.conv0 = SynthesisLayer(
                f"{self.name}.conv0", fan, w_dim, size_px, up=True, clamp=clamp
            )
            if architecture == "resnet":
                self.skip = SkipConv(inputs, outputs)
        self.conv1 = SynthesisLayer(
            f"{self.name}.conv1", (outputs, outputs), w_dim, size_px, up=False, clamp=clamp
        )
        if is_last or architecture == "skip":
            self.torgb = ToRGB(outputs, img_channels, w_dim, clamp)
        self.num_convs = 1 if self.is_first else 2

    def forward(
        self, x: Tensor | None, picture: Tensor | None, w: Tensor, run: Pass
    ) -> tuple[Tensor, Tensor | None]:
        """Features and picture of the block below, w [N, num_convs + 1, w_dim] => those of this."""
        x = self._convolve(x, w, run)
        if picture is not None:
            picture = upsample2x(picture, self.resample_filter)
        if self.torgb is not None:
            rgb = self.torgb(x, w[:, self.num_convs])
            picture = rgb if picture is None else picture + rgb
        if self.name in run.hooks.after_block:
            x = run.hooks.after_block[self.name](x)
        return x, picture

    def _convolve(self, x: Tensor | None, w: Tensor, run: Pass) -> Tensor:
        if x is None or self.conv0 is None:
            return self.conv1(self.const.expand(w.shape[0], -1, -1, -1), w[:, 0], run)
        if self.skip is None:
            return self.conv1(self.conv0(x, w[:, 0], run), w[:, 1], run)
        half = math.sqrt(0.5)  # keeps the variance of a sum of two
        branch = self.conv1(self.conv0(x, w[:, 0], run), w[:, 1], run, gain=half)
        return self.skip(x) * half + branch
