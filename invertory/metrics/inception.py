"""The Inception-V3 of FID: 2048 features per image, from the network of 2015-12-05.

Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", 2016,
https://arxiv.org/abs/1512.00567, as in the graph that Heusel et al., 2017,
https://arxiv.org/abs/1706.08500, use for FID. Unlike torchvision's network, average pools exclude
the padding, and the last block uses max pooling.

Preprocessing follows Parmar et al., "On Aliased Resizing and Surprising Subtleties in GAN
Evaluation", 2022, https://arxiv.org/abs/2104.11222 ("clean"): 8 bits per channel, antialiased
bicubic resizing to 299 px in float without rounding, then (x - 128) / 128. These FIDs are not
comparable to FIDs with the older bilinear resizing without antialiasing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu_

from invertory.checkpoints.strict import ArchitectureError, load_strictly
from invertory.checkpoints.torchscript import read_torchscript

if TYPE_CHECKING:
    from pathlib import Path

SIZE_PX = 299
_EPSILON = 1e-3  # of the batch norms

# one convolution of a branch: output channels, kernel (height, width)
Fan = tuple[int, tuple[int, int]]


class InceptionFeatures(nn.Module):
    """Images => the features before the classifier; frozen, in eval mode."""

    name = "inception_2015"

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(OrderedDict(_layers()))
        self.to(memory_format=torch.channels_last).eval().requires_grad_(False)

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor]) -> InceptionFeatures:
        """Load convolutions and batch norms by their names in the TensorFlow graph."""
        return load_strictly(cls(), _folded(tensors))

    @classmethod
    def read(cls, path: Path) -> InceptionFeatures:
        """Read a TorchScript file without executing its program."""
        tensors = read_torchscript(path)
        return cls.load({name.partition("layers.")[2]: value for name, value in tensors.items()})

    def forward(self, x: Tensor) -> Tensor:
        """x [N, 3, H, W] in [-1, 1] => [N, 2048]; raises ValueError for other shapes."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"expected images [N, 3, H, W], got {list(x.shape)}")
        prepared = prepare(x).contiguous(memory_format=torch.channels_last)
        features: Tensor = self.layers(prepared)
        return features.flatten(1)


def prepare(x: Tensor) -> Tensor:
    """x [N, 3, H, W] in [-1, 1] => the network's input [N, 3, 299, 299]."""
    x = ((x.float() + 1) * 127.5).round().clamp(0, 255)
    if x.shape[-2:] != (SIZE_PX, SIZE_PX):
        x = interpolate(x, (SIZE_PX, SIZE_PX), mode="bicubic", antialias=True).clamp(0, 255)
    return (x - 128) / 128


class _Conv(nn.Module):
    """Convolution and ReLU; the batch norm is folded into weight and bias."""

    def __init__(self, inputs: int, fan: Fan, stride: int = 1, *, is_padded: bool = True) -> None:
        super().__init__()
        outputs, kernel = fan
        self.outputs, self.stride = outputs, stride
        self.padding = (kernel[0] // 2, kernel[1] // 2) if is_padded and stride == 1 else (0, 0)
        self.weight = nn.Parameter(torch.zeros(outputs, inputs, *kernel))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return relu_(torch.conv2d(x, self.weight, self.bias, self.stride, self.padding))


class _Joined(nn.ModuleDict):
    """Parallel branches with concatenated channels."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.values()], 1)


def _numbered(stem: str, modules: list[nn.Module]) -> list[tuple[str, nn.Module]]:
    """Names conv, conv_1, conv_2, ... as in the graph."""
    return [(f"{stem}_{i}" if i else stem, module) for i, module in enumerate(modules)]


def _chain(inputs: int, fans: list[Fan], *, last_stride: int = 1) -> nn.Sequential:
    convs: list[nn.Module] = []
    for i, fan in enumerate(fans):
        stride = last_stride if i == len(fans) - 1 else 1
        convs.append(_Conv(inputs, fan, stride))
        inputs = fan[0]
    return nn.Sequential(OrderedDict(_numbered("conv", convs)))


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(pool=_border_mean(), conv=_Conv(inputs, (outputs, (1, 1)))))


_border_mean = partial(nn.AvgPool2d, 3, 1, 1, count_include_pad=False)
_halving_max = partial(nn.MaxPool2d, 3, 2)


def _block_a(inputs: int, pooled: int) -> _Joined:
    """Block at 35 px."""
    return _Joined(
        OrderedDict(
            conv=_Conv(inputs, (64, (1, 1))),
            tower=_chain(inputs, [(48, (1, 1)), (64, (5, 5))]),
            tower_1=_chain(inputs, [(64, (1, 1)), (96, (3, 3)), (96, (3, 3))]),
            tower_2=_pooled(inputs, pooled),
        )
    )


def _block_b() -> _Joined:
    """Reduction from 35 to 17 px."""
    return _Joined(
        OrderedDict(
            conv=_Conv(288, (384, (3, 3)), 2),
            tower=_chain(288, [(64, (1, 1)), (96, (3, 3)), (96, (3, 3))], last_stride=2),
            pool=_halving_max(),
        )
    )


def _block_c(width: int) -> _Joined:
    """Block at 17 px with kernels of one row or one column."""
    row, column, point = (1, 7), (7, 1), (1, 1)
    long = [(width, point), (width, column), (width, row), (width, column), (192, row)]
    return _Joined(
        OrderedDict(
            conv=_Conv(768, (192, point)),
            tower=_chain(768, [(width, point), (width, row), (192, column)]),
            tower_1=_chain(768, long),
            tower_2=_pooled(768, 192),
        )
    )


def _block_d() -> _Joined:
    """Reduction from 17 to 8 px."""
    long: list[Fan] = [(192, (1, 1)), (192, (1, 7)), (192, (7, 1)), (192, (3, 3))]
    return _Joined(
        OrderedDict(
            tower=_chain(768, [(192, (1, 1)), (320, (3, 3))], last_stride=2),
            tower_1=_chain(768, long, last_stride=2),
            pool=_halving_max(),
        )
    )


class _BlockE(nn.Module):
    """Block at 8 px; two branches end in parallel row and column kernels."""

    def __init__(self, inputs: int, pool: nn.Module) -> None:
        super().__init__()
        self.conv = _Conv(inputs, (320, (1, 1)))
        self.tower_conv = _Conv(inputs, (384, (1, 1)))
        self.tower_mixed_conv = _Conv(384, (384, (1, 3)))
        self.tower_mixed_conv_1 = _Conv(384, (384, (3, 1)))
        self.tower_1_conv = _Conv(inputs, (448, (1, 1)))
        self.tower_1_conv_1 = _Conv(448, (384, (3, 3)))
        self.tower_1_mixed_conv = _Conv(384, (384, (1, 3)))
        self.tower_1_mixed_conv_1 = _Conv(384, (384, (3, 1)))
        self.tower_2_conv = _Conv(inputs, (192, (1, 1)))
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        short, long = self.tower_conv(x), self.tower_1_conv_1(self.tower_1_conv(x))
        split = [self.tower_mixed_conv(short), self.tower_mixed_conv_1(short)]
        split += [self.tower_1_mixed_conv(long), self.tower_1_mixed_conv_1(long)]
        return torch.cat([self.conv(x), *split, self.tower_2_conv(self.pool(x))], 1)


def _layers() -> list[tuple[str, nn.Module]]:
    mixed = [_block_a(192, 32), _block_a(256, 64), _block_a(288, 64), _block_b()]
    mixed += [_block_c(width) for width in (128, 160, 160, 192)] + [_block_d()]
    last = [_BlockE(1280, _border_mean()), _BlockE(2048, nn.MaxPool2d(3, 1, 1))]
    return [
        ("conv", _Conv(3, (32, (3, 3)), 2)),
        ("conv_1", _Conv(32, (32, (3, 3)), is_padded=False)),
        ("conv_2", _Conv(32, (64, (3, 3)))),
        ("pool0", _halving_max()),
        ("conv_3", _Conv(64, (80, (1, 1)))),
        ("conv_4", _Conv(80, (192, (3, 3)), is_padded=False)),
        ("pool1", _halving_max()),
        *_numbered("mixed", [*mixed, *last]),
        ("pool2", nn.AvgPool2d(8)),
    ]


def _folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold each batch norm into the preceding convolution; both are linear."""
    folded: dict[str, Tensor] = {}
    for name, weight in tensors.items():
        conv, _, part = name.rpartition(".")
        if part != "weight":
            continue
        try:
            beta, mean, var = (tensors[f"{conv}.{norm}"] for norm in ("beta", "mean", "var"))
        except KeyError as error:
            raise ArchitectureError(
                f"expected the batch norm of {conv!r} (beta, mean, var), got no {error}; use the "
                "Inception-V3 of FID"
            ) from error
        scale = torch.rsqrt(var.double() + _EPSILON)
        folded[f"layers.{name}"] = (weight.double() * scale[:, None, None, None]).float()
        folded[f"layers.{conv}.bias"] = (beta.double() - mean.double() * scale).float()
    return folded
