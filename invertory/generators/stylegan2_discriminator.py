"""StyleGAN2's discriminator, with parameters named as in NVIDIA's files.

Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", 2020,
https://arxiv.org/abs/1912.04958 (residual blocks, section 4.1; minibatch deviation from
"Progressive Growing of GANs", 2018, https://arxiv.org/abs/1710.10196, section 3). Written from the
papers.

`light` halves the size with 2x2 means instead of the paper's [1, 3, 3, 1] low-pass: the same
parameters, fewer operations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, leaky_relu

from invertory.checkpoints.network import ConfiguredNetwork
from invertory.checkpoints.strict import load_strictly
from invertory.generators.stylegan2_layers import FullyConnected
from invertory.generators.stylegan2_ops import (
    bias_lrelu,
    downsample2x,
    fir_filter,
    halve,
    upfirdn2d,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StyleGAN2DiscriminatorConfig:
    """Sizes; the defaults are config F of the paper at 1024 px."""

    img_resolution: int = 1024
    img_channels: int = 3
    channel_base: int = 32768  # product of channels and resolution
    channel_max: int = 512
    # channels at 4, 8, 16... px, instead of the two above
    channel_table: tuple[int, ...] | None = None
    conv_clamp: float | None = None
    mbstd_group_size: int = 4
    mbstd_num_channels: int = 1
    light: bool = False

    def __post_init__(self) -> None:
        if self.img_resolution < 8 or self.img_resolution & (self.img_resolution - 1):
            raise ValueError(
                "expected an img_resolution that is a power of two from 8 px, got "
                f"{self.img_resolution} px"
            )
        if self.channel_table is not None:
            object.__setattr__(self, "channel_table", tuple(self.channel_table))  # JSON has lists
            if len(self.channel_table) != len(self.sizes_px) + 1:
                raise ValueError(
                    f"expected {len(self.sizes_px) + 1} channel numbers for 4 to "
                    f"{self.img_resolution} px, got {list(self.channel_table)}"
                )

    @property
    def sizes_px(self) -> list[int]:
        """Sizes of the residual blocks, from the image's down to 8."""
        return [2**k for k in range(int(math.log2(self.img_resolution)), 2, -1)]

    def channels(self, size_px: int) -> int:
        if self.channel_table is not None:
            return self.channel_table[int(math.log2(size_px)) - 2]
        return min(self.channel_base // size_px, self.channel_max)


class ScaledConv(nn.Module):
    """k x k convolution with equalised learning rate, bias and leaky ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, size, size))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain = 1 / math.sqrt(inputs * size**2)

    def forward(
        self,
        x: Tensor,
        *,
        taps: Tensor | None = None,
        stride: int = 1,
        gain: float = 1.0,
        clamp: float | None = None,
    ) -> Tensor:
        """Convolve; with `taps`, low-pass first, padded so that a stride of 2 halves the size."""
        padding = self.weight.shape[2] // 2
        if taps is not None:
            before, after = (taps.shape[-1] - 1) // 2, (taps.shape[-1] - 2) // 2
            # padding of the filter and of the convolution, both applied before the filter
            left, right = before + padding, after + padding
            x = upfirdn2d(x, taps, padding=(left, right, left, right))
            padding = 0
        # the activation's gain sqrt(2) is folded into the weights: lrelu(a) c = lrelu(a c)
        gain *= math.sqrt(2)
        weight, bias = self.weight * (self.weight_gain * gain), self.bias * gain
        x = leaky_relu(conv2d(x, weight, bias, stride, padding), 0.2, inplace=True)
        limit = 0.0 if clamp is None else clamp * gain / math.sqrt(2)
        return x.clamp(-limit, limit) if limit else x


class Skip(nn.Module):
    """1x1 convolution of the halved input, without bias or activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight * math.sqrt(0.5 / x.shape[1]))  # half the variance of the sum


class ResidualBlock(nn.Module):
    """[N, I, 2H, 2W] => [N, O, H, W]; at the largest size, images to features first."""

    taps: Tensor

    def __init__(self, fan: tuple[int, int], img_channels: int, *, light: bool) -> None:
        super().__init__()
        inputs, outputs = fan
        self.light = light
        self.fromrgb = ScaledConv(img_channels, inputs, 1) if img_channels else None
        self.conv0 = ScaledConv(inputs, inputs, 3)
        self.conv1 = ScaledConv(inputs, outputs, 3)
        self.skip = Skip(inputs, outputs)
        self.register_buffer("taps", fir_filter(), persistent=False)

    def forward(self, x: Tensor, clamp: float | None) -> Tensor:
        if self.fromrgb is not None:
            x = self.fromrgb(x, clamp=clamp)
        half = math.sqrt(0.5)
        if self.light:
            skip = self.skip(halve(x))
            x = self.conv1(halve(self.conv0(x, clamp=clamp)), gain=half, clamp=clamp)
        else:
            skip = self.skip(downsample2x(x, self.taps))
            x = self.conv0(x, clamp=clamp)
            x = self.conv1(x, taps=self.taps, stride=2, gain=half, clamp=clamp)
        out: Tensor = skip + x
        return out


class Epilogue(nn.Module):
    """[N, C, 4, 4] => logits [N]: deviation within groups of the batch, then two layers."""

    def __init__(self, channels: int, group_size: int, num_channels: int) -> None:
        super().__init__()
        self.group_size, self.num_channels = group_size, num_channels
        self.conv = ScaledConv(channels + num_channels, channels, 3)
        self.fc = FullyConnected(channels * 16, channels)
        self.out = FullyConnected(channels, 1)

    def forward(self, x: Tensor, clamp: float | None) -> Tensor:
        if self.num_channels:
            x = torch.cat([x, self._deviation(x)], 1)
        x = self.fc(self.conv(x, clamp=clamp).flatten(1))
        out: Tensor = self.out(bias_lrelu(x, x.new_zeros(x.shape[1])))[:, 0]
        return out

    def _deviation(self, x: Tensor) -> Tensor:
        """Mean standard deviation over each group of images, [N, num_channels, 4, 4].

        Images i, i + N/G, i + 2 N/G... form a group; a batch that G does not divide is one group.
        """
        n, _, h, w = x.shape
        size = min(self.group_size, n) if self.group_size else n
        size = size if n % size == 0 else n
        groups = x.to(torch.promote_types(x.dtype, torch.float32)).reshape(
            size, n // size, self.num_channels, -1, h, w
        )
        variance = (groups - groups.mean(0)).square().mean(0)
        deviation = (variance + 1e-8).sqrt().mean((2, 3, 4))  # [N / size, num_channels]
        return deviation.to(x.dtype).repeat(size, 1)[:, :, None, None].expand(-1, -1, h, w)


class StyleGAN2Discriminator(ConfiguredNetwork):
    """Images [N, 3, R, R] in [-1, 1] => logits [N], positive for real; frozen, in eval."""

    _config: StyleGAN2DiscriminatorConfig

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self._config = cfg = StyleGAN2DiscriminatorConfig(**config)
        for px in cfg.sizes_px:
            fan = (cfg.channels(px), cfg.channels(px // 2))
            channels = cfg.img_channels if px == cfg.img_resolution else 0
            self.add_module(f"b{px}", ResidualBlock(fan, channels, light=cfg.light))
        self.b4 = Epilogue(cfg.channels(4), cfg.mbstd_group_size, cfg.mbstd_num_channels)
        self.eval().requires_grad_(False)

    @classmethod
    def load(
        cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]
    ) -> StyleGAN2Discriminator:
        """Load tensors under NVIDIA's names (ignoring their constant filters) and `config`."""
        own = {k: v for k, v in tensors.items() if not k.endswith("resample_filter")}
        return load_strictly(cls(**config), own)

    def initialise(self, rng: torch.Generator) -> StyleGAN2Discriminator:
        """Initialise for training: weights from N(0, 1), biases 0."""
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                draw = torch.randn(parameter.shape, generator=rng, device=rng.device)
                parameter.data = draw.to(parameter)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 3, R, R] => logits [N]. A logit depends on its group of the batch."""
        return self.judge(self.features(x)[-1])

    @property
    def out_channels(self) -> int:
        """Channels of the last of `features`."""
        return self.b4.conv.bias.shape[0]

    def judge(self, x: Tensor) -> Tensor:
        """The last of `features` => logits [N]."""
        out: Tensor = self.b4(x, self._config.conv_clamp)
        return out

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, R, R] => outputs of the blocks, [N, C, R/2, R/2] to [N, C, 4, 4]."""
        size = self._config.img_resolution
        if x.ndim != 4 or x.shape[1:] != (self._config.img_channels, size, size):
            raise ValueError(
                f"expected images [N, {self._config.img_channels}, {size}, {size}], got "
                f"{list(x.shape)}"
            )
        maps = []
        for px in self._config.sizes_px:
            x = self.get_submodule(f"b{px}")(x, self._config.conv_clamp)
            maps.append(x)
        return maps
