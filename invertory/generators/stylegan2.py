"""StyleGAN2, for weights in the layout of NVIDIA's PyTorch files.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020,
https://arxiv.org/abs/1912.04958, and "Training Generative Adversarial Networks with Limited Data",
2020, https://arxiv.org/abs/2006.06676. Written from the papers, for inference in float32 (files
trained with half precision at high resolutions give the same result within its rounding).

Block b<r> of r px reads the rows conv0, conv1 and RGB; its RGB row is the next block's conv0 row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from invertory.checkpoints.network import ConfiguredNetwork
from invertory.generators.stylegan2_layers import (
    FullyConnected,
    Hooks,
    NoiseMode,
    SynthesisBlock,
    SynthesisPass,
)
from invertory.generators.stylegan2_ops import FIR, bias_lrelu


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleGAN2Config:
    """Sizes; the defaults are config F of the paper at 1024 px."""

    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 0  # one-hot labels; 0 for none
    img_resolution: int = 1024
    img_channels: int = 3
    num_layers: int = 8  # of the mapping network
    layer_features: int | None = None  # None: w_dim
    embed_features: int | None = None  # None: w_dim
    lr_multiplier: float = 0.01
    channel_base: int = 32768  # product of channels and resolution
    channel_max: int = 512
    # channels at 4, 8, 16... px, instead of the two above
    channel_table: tuple[int, ...] | None = None
    conv_clamp: float | None = None
    architecture: Literal["skip", "resnet", "orig"] = "skip"

    def __post_init__(self) -> None:
        if self.img_resolution < 8 or self.img_resolution & (self.img_resolution - 1):
            raise ValueError(
                "expected an img_resolution that is a power of two from 8 px, got "
                f"{self.img_resolution} px"
            )
        if self.architecture not in ("skip", "resnet", "orig"):
            raise ValueError(
                f"expected architecture skip, resnet or orig, got {self.architecture!r}"
            )
        if self.channel_table is not None:
            object.__setattr__(self, "channel_table", tuple(self.channel_table))  # JSON has lists
            blocks = int(math.log2(self.img_resolution)) - 1
            if len(self.channel_table) != blocks:
                raise ValueError(
                    f"expected {blocks} channel numbers for 4 to {self.img_resolution} px, "
                    f"got {list(self.channel_table)}"
                )

    @classmethod
    def from_nvidia(cls, init_kwargs: Mapping[str, Any]) -> StyleGAN2Config:
        """Convert the `init_kwargs` of a network in one of NVIDIA's files.

        Raises `ValueError` for settings that are unknown or not supported.
        """
        settings = {k: v for k, v in init_kwargs.items() if not k.endswith("_kwargs")}
        settings |= init_kwargs.get("mapping_kwargs", {}) | init_kwargs.get("synthesis_kwargs", {})
        fixed = {"activation": "lrelu", "use_noise": True, "resample_filter": list(FIR)}
        for name, value in fixed.items():
            if settings.pop(name, value) != value:
                raise ValueError(
                    f"expected {name} {value}, got another value, which is not supported"
                )
        # settings of training and speed
        for name in ("num_fp16_res", "fp16_channels_max", "w_avg_beta"):
            settings.pop(name, None)
        unknown = set(settings) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"expected settings among {', '.join(cls.__dataclass_fields__)}, got "
                f"{', '.join(sorted(unknown))}: pass the init_kwargs of a StyleGAN2 generator"
            )
        return cls(**settings)

    def channels(self, size_px: int) -> int:
        if self.channel_table is not None:
            return self.channel_table[max(int(math.log2(size_px)) - 2, 0)]
        return min(self.channel_base // size_px, self.channel_max)


def _normal(like: Tensor, rng: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=rng, device=rng.device).to(like)


class MappingNetwork(nn.Module):
    """z [N, z_dim] and c [N, c_dim] => w [N, w_dim]."""

    w_avg: Tensor

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.c_dim, self.num_layers = config.c_dim, config.num_layers
        embed = (config.embed_features or config.w_dim) if config.c_dim else 0
        if config.c_dim:
            self.embed = FullyConnected(config.c_dim, embed)
        hidden = [config.layer_features or config.w_dim] * (config.num_layers - 1)
        widths = [config.z_dim + embed, *hidden, config.w_dim]
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            layer = FullyConnected(inputs, outputs, lr_multiplier=config.lr_multiplier)
            self.add_module(f"fc{i}", layer)
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        x = _normalise(z)
        if self.c_dim:
            if c is None or c.shape != (z.shape[0], self.c_dim):
                got = "none" if c is None else list(c.shape)
                raise ValueError(f"expected labels c [{z.shape[0]}, {self.c_dim}], got {got}")
            x = torch.cat([x, _normalise(self.embed(c))], 1)
        for i in range(self.num_layers):
            layer = self.get_submodule(f"fc{i}")
            x = layer(x)
            x = bias_lrelu(x, x.new_zeros(x.shape[1]))
        return x


def _normalise(x: Tensor) -> Tensor:
    """Normalise rows to mean square 1."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)


class SynthesisNetwork(nn.Module):
    """w_plus [N, num_ws, w_dim] => images [N, img_channels, img_resolution, img_resolution]."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.w_dim = config.w_dim
        self.sizes_px = [2**k for k in range(2, int(math.log2(config.img_resolution)) + 1)]
        self.num_ws = 2 * len(self.sizes_px)
        for px in self.sizes_px:
            block = SynthesisBlock(
                px,
                (config.channels(px // 2), config.channels(px)),
                config.w_dim,
                img_channels=config.img_channels,
                architecture=config.architecture,
                clamp=config.conv_clamp,
                is_last=px == config.img_resolution,
            )
            self.add_module(f"b{px}", block)

    def forward(
        self,
        w_plus: Tensor,
        *,
        noise_mode: NoiseMode = "const",
        rng: torch.Generator | None = None,
        hooks: Hooks | None = None,
    ) -> Tensor:
        """Synthesise with the network's own noise (`const`), `none`, or `random` from `rng`."""
        run = SynthesisPass(noise_mode, rng, hooks or Hooks())
        return self._run(w_plus, run, self.sizes_px[-1])[1][self.sizes_px[-1]]

    def features(
        self, w_plus: Tensor, names: tuple[str, ...], hooks: Hooks | None = None
    ) -> dict[str, Tensor]:
        """Outputs [N, C, r, r] of the named blocks (b4, b8, ...), with constant noise."""
        known = {f"b{px}": px for px in self.sizes_px}
        if not names or not set(names) <= set(known):
            raise ValueError(f"expected feature names among {', '.join(known)}, got {names}")
        run = SynthesisPass(hooks=hooks or Hooks())
        maps, _ = self._run(w_plus, run, max(known[name] for name in names))
        return {name: maps[known[name]] for name in names}

    def _run(
        self, w_plus: Tensor, run: SynthesisPass, last_px: int
    ) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
        """Compute features and images by size, up to `last_px`."""
        if w_plus.ndim != 3 or w_plus.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(
                f"expected w_plus [N, {self.num_ws}, {self.w_dim}], got {list(w_plus.shape)}; "
                "repeat a w over the rows: w[:, None].expand(-1, G.num_ws, -1)"
            )
        x, image, row = None, None, 0
        maps: dict[int, Tensor] = {}
        images: dict[int, Tensor] = {}
        for px in self.sizes_px[: self.sizes_px.index(last_px) + 1]:
            block = self.get_submodule(f"b{px}")
            rows = 1 if px == 4 else 2
            x, image = block(x, image, w_plus[:, row : row + rows + 1], run)
            row += rows
            maps[px] = x
            if image is not None:
                images[px] = image
        return maps, images


class StyleGAN2(ConfiguredNetwork):
    """The generator, frozen and in eval; see `Generator` for its interface."""

    _config: StyleGAN2Config

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self._config = StyleGAN2Config(**config)
        self.mapping = MappingNetwork(self._config)
        self.synthesis = SynthesisNetwork(self._config)
        self.z_dim, self.w_dim = self._config.z_dim, self._config.w_dim
        self.num_ws = self.synthesis.num_ws
        self.resolution = self.preview_resolution = self._config.img_resolution
        sizes_px = self.synthesis.sizes_px
        self.feature_names = tuple(f"b{px}" for px in sizes_px)
        # (channels, px) of each feature that hooks can change
        self.feature_shapes = {f"b{px}": (self._config.channels(px), px) for px in sizes_px}
        self.eval().requires_grad_(False)

    @property
    def w_avg(self) -> Tensor:
        """Mean w, [w_dim]."""
        return self.mapping.w_avg

    def initialise(self, rng: torch.Generator) -> StyleGAN2:
        """Initialise for training: weights from N(0, 1), divided by the mapping's learning rate."""
        for name, parameter in self.named_parameters():
            if name.endswith("weight") or name.endswith("const"):
                over = self._config.lr_multiplier if name.startswith("mapping.fc") else 1.0
                parameter.data = _normal(parameter, rng) / over
        for name, buffer in self.named_buffers():
            if name.endswith("noise_const"):
                buffer.copy_(_normal(buffer, rng))
        return self

    def weights(self) -> dict[str, Tensor]:
        """The parameters of `synthesis` that can be tuned, by name."""
        return dict(self.synthesis.named_parameters())

    def kernels(self) -> dict[str, Tensor]:
        """The weights of the modulated convolutions and RGB layers."""
        ends = ("conv0.weight", "conv1.weight", "torgb.weight")
        return {name: tensor for name, tensor in self.weights().items() if name.endswith(ends)}

    def preview(
        self, w_plus: Tensor, min_px: int | None = None, *, hooks: Hooks | None = None
    ) -> Tensor:
        """The same as `synthesis`: these weights have no cheaper head."""
        out: Tensor = self.synthesis(w_plus, hooks=hooks)
        return out

    def features(
        self, w_plus: Tensor, names: tuple[str, ...], hooks: Hooks | None = None
    ) -> dict[str, Tensor]:
        """Outputs [N, C, r, r] of the named blocks, with constant noise."""
        return self.synthesis.features(w_plus, names, hooks)

    def broadcast(
        self, w: Tensor, *, truncation_psi: float = 1.0, truncation_cutoff: int | None = None
    ) -> Tensor:
        """w [N, w_dim] => w_plus [N, num_ws, w_dim], truncated.

        The first `truncation_cutoff` rows (all if None) become w_avg + psi (w - w_avg).
        """
        w_plus = w[:, None].expand(-1, self.num_ws, -1)
        rows = self.num_ws if truncation_cutoff is None else truncation_cutoff
        truncated = self.w_avg.lerp(w_plus[:, :rows], truncation_psi)
        return torch.cat([truncated, w_plus[:, rows:]], 1)
