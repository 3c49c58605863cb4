"""A small unconditional BigGAN generator and its discriminator.

Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019,
https://arxiv.org/abs/1809.11096, appendix B: residual blocks, the gain and bias of each batch norm
from a chunk of the latent, and spectral norm in both networks. Written from the paper. Ours has no
classes and no attention (images have 32 or 64 px), and maps w = M(z) first (InvGAN, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from invertory.generators.dcgan import SingleWGenerator, check_channels, check_images
from invertory.generators.spectral import SpectralConv


@dataclass(frozen=True, slots=True, kw_only=True)
class BigGANConfig:
    """Sizes; the defaults are for 64 px on a CPU."""

    resolution: int = 64
    img_channels: int = 3
    z_dim: int = 128
    w_dim: int = 128
    channels: tuple[int, ...] = (96, 96, 64, 48, 32)  # at 4, 8, ... `resolution` px

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # JSON has lists
        check_channels(self.resolution, self.img_channels, self.channels, first_px=4, last=1)
        if self.w_dim < len(self.channels):
            raise ValueError(f"expected w_dim of {len(self.channels)} or more, got {self.w_dim}")


class ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias are linear in a chunk of w."""

    def __init__(self, channels: int, chunk: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = SpectralConv(chunk, channels, 0)
        self.bias = SpectralConv(chunk, channels, 0)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        # (x - mean) / std * (1 + gain(w)) + bias(w)
        gain, bias = 1 + self.gain(w), self.bias(w)
        out: Tensor = self.norm(x) * gain[:, :, None, None].to(x) + bias[:, :, None, None].to(x)
        return out


class UpBlock(nn.Module):
    """[N, I, H, W] and a chunk of w => [N, O, 2H, 2W]."""

    def __init__(self, inputs: int, outputs: int, chunk: int) -> None:
        super().__init__()
        self.norm0 = ConditionalNorm(inputs, chunk)
        self.conv0 = SpectralConv(inputs, outputs)
        self.norm1 = ConditionalNorm(outputs, chunk)
        self.conv1 = SpectralConv(outputs, outputs)
        self.skip = SpectralConv(inputs, outputs, 1)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y = self.conv0(_doubled(relu(self.norm0(x, w))))
        y = self.conv1(relu(self.norm1(y, w)))
        out: Tensor = y + _doubled(self.skip(x))  # a 1x1 convolution and the doubling commute
        return out


def _doubled(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")


class BigGAN(SingleWGenerator):
    """w_plus [N, 1, w_dim] => images [N, 3, R, R]; see `Generator`. Frozen, in eval."""

    _config: BigGANConfig

    def __init__(self, **config: Any) -> None:
        self._config = cfg = BigGANConfig(**config)
        super().__init__(cfg.z_dim, cfg.w_dim, cfg.resolution)
        self.feature_names = tuple(f"b{4 << i}" for i in range(len(cfg.channels)))
        rest = cfg.w_dim // len(cfg.channels)
        self._chunks = [cfg.w_dim - rest * (len(cfg.channels) - 1)]
        self._chunks += [rest] * (len(cfg.channels) - 1)
        self.project = SpectralConv(self._chunks[0], 16 * cfg.channels[0], 0)
        fans = pairwise(cfg.channels)
        self.blocks = nn.ModuleList(UpBlock(i, o, rest) for i, o in fans)
        self.norm = nn.BatchNorm2d(cfg.channels[-1])
        self.torgb = SpectralConv(cfg.channels[-1], cfg.img_channels)
        self.eval().requires_grad_(False)

    def _maps(self, w: Tensor) -> dict[str, Tensor]:
        first, *chunks = torch.split(w, self._chunks, 1)
        x = self.project(first).unflatten(1, (-1, 4, 4))
        maps = {"b4": x}
        for name, block, chunk in zip(self.feature_names[1:], self.blocks, chunks, strict=True):
            maps[name] = x = block(x, chunk)
        return maps | {"image": torch.tanh(self.torgb(relu(self.norm(x))))}


class DownBlock(nn.Module):
    """[N, I, H, W] => [N, O, H/2, W/2]; the first block starts without an activation."""

    def __init__(self, inputs: int, outputs: int, *, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.conv0 = SpectralConv(inputs, outputs)
        self.conv1 = SpectralConv(outputs, outputs)
        self.skip = SpectralConv(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv0(x if self.is_first else relu(x))
        out: Tensor = avg_pool2d(self.conv1(relu(y)), 2) + self.skip(avg_pool2d(x, 2))
        return out


class BigGANDiscriminator(nn.Module):
    """Images [N, 3, R, R] => maps of R/2 ... 4 px, and logits [N] from the last map."""

    def __init__(self, **config: Any) -> None:
        """Build with `channels`: output channels at 4, 8, ... half of `resolution` px."""
        super().__init__()
        arguments: dict[str, Any] = {
            "resolution": 64,
            "img_channels": 3,
            "channels": (96, 96, 64, 32),
        }
        arguments |= config
        self.resolution, self.img_channels = arguments["resolution"], arguments["img_channels"]
        self.channels: tuple[int, ...] = tuple(arguments["channels"])
        check_channels(self.resolution, self.img_channels, self.channels, first_px=4, last=2)
        self.out_channels = self.channels[0]
        fans = list(pairwise((self.img_channels, *self.channels[::-1])))
        self.blocks = nn.ModuleList(
            DownBlock(i, o, is_first=k == 0) for k, (i, o) in enumerate(fans)
        )
        self.out = SpectralConv(self.out_channels, 1, 0)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        names = ("resolution", "img_channels")
        return {n: getattr(self, n) for n in names} | {"channels": list(self.channels)}

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, R, R] => [N, C, R/2, R/2] to [N, C, 4, 4]."""
        maps, x = [], check_images(x, self.resolution)
        x = x.mean(1, keepdim=True) if self.img_channels == 1 else x
        for block in self.blocks:
            x = block(x)
            maps.append(x)
        return maps

    def judge(self, x: Tensor) -> Tensor:
        """The last of `features` => logits [N]."""
        out: Tensor = self.out(relu(x).sum((2, 3)))[:, 0]
        return out
