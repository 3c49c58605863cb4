"""The layers of StyleGAN2 (see stylegan2.py for the papers), with NVIDIA's parameter names.

Convolutions are modulated by scaling the activations before and after one shared kernel. This
equals scaling the kernel per sample (section 2.2 of 1912.04958) and needs no grouped convolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from invertory.generators.frozen import FrozenCache
from invertory.generators.low_rank import LowRank
from invertory.generators.stylegan2_ops import (
    conv2d_points,
    conv2d_up2x,
    fir_filter,
    fit_convolutions,
    scale_shift_lrelu,
    upsample2x,
)

NoiseMode = Literal["const", "none", "random"]


@dataclass(frozen=True, slots=True)
class Hooks:
    """Places where an inversion can change the synthesis.

    `after_conv["b32.conv0"]`: (x [N, C, H, W], w [N, w_dim]) => x, after the modulated convolution
    and before noise, bias and activation (SAMM). `after_block["b32"]`: x => x, after the block's
    last convolution; the block's own RGB is computed from the unchanged x (SAM).
    `after_rgb["b32"]`: image [N, 3, 32, 32] => image, including that RGB (SAM's edits).
    `low_rank["b32.conv0"]` and `low_rank["b32.torgb"]`: a change of that kernel for each row of the
    batch (PTI).
    """

    after_conv: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = field(default_factory=dict)
    after_block: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    after_rgb: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    low_rank: Mapping[str, LowRank] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SynthesisPass:
    """What one pass through the synthesis carries besides features."""

    noise_mode: NoiseMode = "const"
    rng: torch.Generator | None = None  # for `random`
    hooks: Hooks = field(default_factory=Hooks)


class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate: weights are stored divided by `lr_multiplier`."""

    def __init__(
        self, inputs: int, outputs: int, *, lr_multiplier: float = 1.0, bias_init: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs))
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        self.bias_gain = lr_multiplier
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self._frozen = FrozenCache()

    def forward(self, x: Tensor) -> Tensor:
        gained = self._frozen.get("gained", self.weight, lambda: self.weight * self.weight_gain)
        return linear(x, gained, self.bias * self.bias_gain)


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
        self._frozen = FrozenCache()

    def forward(self, x: Tensor, w: Tensor, run: SynthesisPass, gain: float = 1.0) -> Tensor:
        """x [N, I, H, W], w [N, w_dim] => [N, O, size, size]."""
        style = self.affine(w)  # [N, I]
        # equation 1: w'_ijk = s_i w_ijk, applied to the activations
        x = x * style[:, :, None, None].to(x.dtype)
        own = run.hooks.low_rank.get(self.name)
        energy = style.square() @ self._frozen.get("energy", self.weight, self._energy).T
        if own is not None:
            energy = (energy + own.energy(self.weight, style)).clamp_min(0)
        x = self._convolve(x, own)
        # equation 3: w''_ijk = w'_ijk / sqrt(sum_ik w'_ijk^2 + epsilon)
        scale = torch.rsqrt(energy + 1e-8)[:, :, None, None]
        if self.name in run.hooks.after_conv:
            x = run.hooks.after_conv[self.name](x * scale.to(x.dtype), w)
            scale = torch.ones_like(scale[:1, :1])
        # lrelu(a) * gain = lrelu(a * gain), and these small tensors are the cheapest place for the
        # gain
        clamp, gain = None if self.clamp is None else self.clamp * gain, math.sqrt(2) * gain
        shift = self.bias[None, :, None, None] + self._noise(x, run)
        return scale_shift_lrelu(x, scale * gain, shift * gain, clamp=clamp)

    def _convolve(self, x: Tensor, own: LowRank | None) -> Tensor:
        """Convolve modulated x [N, I, H, W] with the kernel and a row's own change of it."""
        weight = fit_convolutions(self.weight, self._frozen)
        if self.up:
            y = conv2d_up2x(x, weight, self.resample_filter)
            return y if own is None else y + own.conv3x3_up2x(x, self.resample_filter)
        y = conv2d(x, weight, padding=1)
        return y if own is None else y + own.conv3x3(x)

    def _energy(self) -> Tensor:
        """Sum of squares of each input's kernel, [O, I]."""
        return self.weight.square().sum((2, 3))

    def _noise(self, x: Tensor, run: SynthesisPass) -> Tensor | float:
        """Scaled noise [N or 1, 1, H, W], or 0."""
        if run.noise_mode == "none":
            return 0.0
        if run.noise_mode == "const":
            # [H, W], or a map per row if an inversion replaced it with [N, 1, H, W]
            noise = self.noise_const.reshape(-1, 1, *self.noise_const.shape[-2:])
            return noise * self.noise_strength
        if run.rng is None:
            raise ValueError(
                "expected a torch.Generator with noise_mode 'random', got none; pass rng=..., or "
                "noise_mode='const' so that a latent has one image"
            )
        shape = (x.shape[0], 1, *x.shape[2:])
        noise = torch.randn(shape, generator=run.rng, device=run.rng.device)
        return noise.to(self.noise_strength) * self.noise_strength


class ToRGB(nn.Module):
    """Modulated 1x1 convolution with bias, without demodulation."""

    def __init__(self, inputs: int, channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = FullyConnected(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.zeros(channels, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, w: Tensor, own: LowRank | None = None) -> Tensor:
        """x [N, I, H, W], w [N, w_dim], a change of the kernel => [N, channels, H, W]."""
        style = self.affine(w) / math.sqrt(x.shape[1])
        weight = self.weight[:, :, 0, 0]
        if own is not None:
            weight = weight + own.points()
        # with three channels, per-sample kernels are cheaper than per-sample scaling of features
        weight = weight * style[:, None]  # [N, channels, I]
        x = conv2d_points(x, weight.to(x.dtype))
        x = x + self.bias[:, None, None].to(x.dtype)
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
    """One resolution: conv0, which doubles the size (except in the first block), conv1, and RGB.

    Only the last block has RGB unless the architecture is "skip".
    """

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
        self, x: Tensor | None, image: Tensor | None, w: Tensor, run: SynthesisPass
    ) -> tuple[Tensor, Tensor | None]:
        """Features and image of the block below => those of this block.

        w is [N, num_convs + 1, w_dim].
        """
        x = self._convolve(x, w, run)
        if image is not None:
            image = upsample2x(image, self.resample_filter)
        if self.torgb is not None:
            own = run.hooks.low_rank.get(f"{self.name}.torgb")
            rgb = self.torgb(x, w[:, self.num_convs], own)
            image = rgb if image is None else image + rgb
            if self.name in run.hooks.after_rgb:
                image = run.hooks.after_rgb[self.name](image)
        if self.name in run.hooks.after_block:
            x = run.hooks.after_block[self.name](x)
        return x, image

    def _convolve(self, x: Tensor | None, w: Tensor, run: SynthesisPass) -> Tensor:
        if x is None or self.conv0 is None:
            first: Tensor = self.conv1(self.const.expand(w.shape[0], -1, -1, -1), w[:, 0], run)
            return first
        if self.skip is None:
            plain: Tensor = self.conv1(self.conv0(x, w[:, 0], run), w[:, 1], run)
            return plain
        half = math.sqrt(0.5)  # keeps the variance of a sum of two
        branch = self.conv1(self.conv0(x, w[:, 0], run), w[:, 1], run, gain=half)
        joined: Tensor = self.skip(x) * half + branch
        return joined
