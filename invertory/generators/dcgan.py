"""DCGAN with a mapping network: a small generator for small images, and its discriminator.

Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", 2016, https://arxiv.org/abs/1511.06434, section 3: fractionally strided convolutions,
batch normalisation, ReLU and tanh in the generator; strided convolutions and leaky ReLU in the
discriminator. Written from the paper. Ours maps w = M(z) first (InvGAN, section 3.1) and has no
batch normalisation in the discriminator, whose code of an image must not depend on its batch.

Images of one channel are returned as RGB with three equal channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from invertory.checkpoints.network import ConfiguredNetwork
from invertory.generators.two_layer_mapping import TwoLayerMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class DCGANConfig:
    """Sizes; the defaults are for digits of 32 px."""

    resolution: int = 32
    img_channels: int = 1  # 1 or 3
    z_dim: int = 32
    w_dim: int = 32
    channels: tuple[int, ...] = (64, 48, 32)  # at 4, 8, ... half of `resolution` px

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # JSON has lists
        check_channels(self.resolution, self.img_channels, self.channels, first_px=4, last=2)


def check_channels(
    resolution: int, img_channels: int, channels: tuple[int, ...], *, first_px: int, last: int
) -> None:
    """Check that `channels` has one number per size from `first_px` to `resolution` / `last`."""
    if resolution < 8 or resolution & (resolution - 1):
        raise ValueError(
            f"expected a resolution that is a power of two from 8 px, got {resolution} px"
        )
    if img_channels not in (1, 3):
        raise ValueError(f"expected images of 1 or 3 channels, got {img_channels}")
    num_sizes = (resolution // last // first_px).bit_length()
    if len(channels) != num_sizes:
        raise ValueError(
            f"expected {num_sizes} channel numbers for {first_px} to {resolution // last} px, got "
            f"{list(channels)}"
        )


def check_images(x: Tensor, resolution: int) -> Tensor:
    """Return x if it is [N, 3, R, R]; raise ValueError otherwise."""
    if x.ndim != 4 or x.shape[1:] != (3, resolution, resolution):
        raise ValueError(f"expected images [N, 3, {resolution}, {resolution}], got {[*x.shape]}")
    return x


class SingleWGenerator(ConfiguredNetwork):
    """Base of generators with one row of w; a subclass computes maps of w in `_maps`."""

    num_ws = 1
    feature_names: tuple[str, ...]

    def __init__(self, z_dim: int, w_dim: int, resolution: int) -> None:
        super().__init__()
        self.z_dim, self.w_dim = z_dim, w_dim
        self.resolution = self.preview_resolution = resolution
        self.mapping = TwoLayerMapping(z_dim, w_dim)

    def _maps(self, w: Tensor) -> dict[str, Tensor]:
        """Compute the maps of `feature_names`, and `image`."""
        raise NotImplementedError

    @property
    def w_avg(self) -> Tensor:
        """Mean w, [w_dim]."""
        return self.mapping.w_avg

    def synthesis(self, w_plus: Tensor) -> Tensor:
        """w_plus [N, 1, w_dim] => images [N, 3, R, R], within [-1, 1].

        Raises `ValueError` for other shapes.
        """
        if w_plus.ndim != 3 or w_plus.shape[1:] != (1, self.w_dim):
            raise ValueError(
                f"expected w_plus [N, 1, {self.w_dim}], got {list(w_plus.shape)}: this generator "
                "has one row of w"
            )
        return self._maps(w_plus[:, 0])["image"].expand(-1, 3, -1, -1)

    def preview(self, w_plus: Tensor, min_px: int | None = None) -> Tensor:
        """The same as `synthesis`."""
        return self.synthesis(w_plus)

    def features(self, w_plus: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """Outputs [N, C, r, r] of the named blocks (b4, b8, ...)."""
        if not names or not set(names) <= set(self.feature_names):
            raise ValueError(
                f"expected feature names among {', '.join(self.feature_names)}, got {names}"
            )
        maps = self._maps(w_plus[:, 0])
        return {name: maps[name] for name in names}

    def weights(self) -> dict[str, Tensor]:
        """The parameters of `synthesis` that can be tuned, by name."""
        return {n: p for n, p in self.named_parameters() if not n.startswith("mapping.")}

    def kernels(self) -> dict[str, Tensor]:
        """The weights that are convolution kernels."""
        return {name: tensor for name, tensor in self.weights().items() if tensor.ndim == 4}


class DCGAN(SingleWGenerator):
    """w_plus [N, 1, w_dim] => images [N, 3, R, R]; see `Generator`. Frozen, in eval."""

    _config: DCGANConfig

    def __init__(self, **config: Any) -> None:
        self._config = cfg = DCGANConfig(**config)
        super().__init__(cfg.z_dim, cfg.w_dim, cfg.resolution)
        self.feature_names = tuple(f"b{4 << i}" for i in range(len(cfg.channels)))
        self.project = nn.Linear(cfg.w_dim, 16 * cfg.channels[0])
        self.norms = nn.ModuleList(nn.BatchNorm2d(n) for n in cfg.channels)
        fans = pairwise((*cfg.channels, cfg.img_channels))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in fans)
        initialise_small(self.ups)
        self.eval().requires_grad_(False)

    def _maps(self, w: Tensor) -> dict[str, Tensor]:
        x, maps = self.project(w).unflatten(1, (-1, 4, 4)), {}
        for name, norm, up in zip(self.feature_names, self.norms, self.ups, strict=True):
            maps[name] = x = torch.relu(norm(x))
            x = up(x)
        return maps | {"image": torch.tanh(x)}


class DCGANDiscriminator(nn.Module):
    """Images [N, 3, R, R] => maps of R/2 ... 4 px, and logits [N] from the last map."""

    def __init__(self, **config: Any) -> None:
        """Build with `channels` at 4, 8, ... half of `resolution` px."""
        super().__init__()
        arguments: dict[str, Any] = {"resolution": 32, "img_channels": 1, "channels": (64, 48, 32)}
        self._config = DCGANConfig(**arguments | config)
        self.resolution, self.channels = self._config.resolution, self._config.channels
        self.img_channels, self.out_channels = self._config.img_channels, self.channels[0]
        fans = pairwise((self.img_channels, *self.channels[::-1]))
        self.downs = nn.ModuleList(nn.Conv2d(i, o, 4, 2, 1) for i, o in fans)
        initialise_small(self.downs)
        self.out = nn.Linear(16 * self.out_channels, 1)

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        names = ("resolution", "img_channels")
        return {n: getattr(self, n) for n in names} | {"channels": list(self.channels)}

    def features(self, x: Tensor) -> list[Tensor]:
        """x [N, 3, R, R] => [N, C, R/2, R/2] to [N, C, 4, 4]."""
        maps, x = [], check_images(x, self.resolution)
        x = x.mean(1, keepdim=True) if self.img_channels == 1 else x
        for down in self.downs:
            x = leaky_relu(down(x), 0.2)
            maps.append(x)
        return maps

    def judge(self, x: Tensor) -> Tensor:
        """The last of `features` => logits [N]."""
        out: Tensor = self.out(x.flatten(1))[:, 0]
        return out


def initialise_small(layers: nn.ModuleList) -> None:
    """Draw kernels from N(0, 0.02^2), the paper's initialisation, and set biases to 0."""
    for layer in layers:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.bias is not None
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
