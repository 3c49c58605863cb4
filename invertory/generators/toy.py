"""A generator small enough to reason about: linear, orthogonal, and so exactly invertible.

The image is a 2 x 2 arrangement of tiles. Row i of w_plus determines only tile i: its low cosine
frequencies (per channel), mixed by a rotation drawn from the seed. It goes through the same code as
a real generator, in milliseconds and without weights.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

GAIN = 1.6  # a pixel is 1.6 / 4 of a standard normal, so images are about in [-1, 1]


class ToyGenerator(nn.Module):
    """w_plus [N, 4, 3 frequencies^2] => [N, 3, resolution, resolution]; see `Generator`."""

    basis: Tensor  # [num_ws, 3 * tile * tile, w_dim], orthonormal columns
    rotation: Tensor  # [z_dim, w_dim], orthogonal
    w_avg: Tensor  # [w_dim]
    feature_names = ("half", "full")

    def __init__(self, *, seed: int = 0, resolution: int = 32, frequencies: int = 4) -> None:
        super().__init__()
        if resolution % 2 or not 1 <= frequencies <= resolution // 2:
            raise ValueError(
                f"expected an even resolution and 1 to resolution / 2 frequencies, got "
                f"{resolution} px and {frequencies}"
            )
        self.seed, self.frequencies = seed, frequencies
        self.resolution = self.preview_resolution = resolution
        self.num_ws, self.z_dim, self.w_dim = 4, 3 * frequencies**2, 3 * frequencies**2
        rng = torch.Generator().manual_seed(seed)
        tile = tile_basis(resolution // 2, frequencies)
        mixed = [tile @ random_rotation(self.w_dim, rng) for _ in range(self.num_ws)]
        self.register_buffer("basis", torch.stack(mixed).float())
        self.register_buffer("rotation", random_rotation(self.z_dim, rng).float())
        self.register_buffer("w_avg", 0.3 * torch.randn(self.w_dim, generator=rng))
        self.eval()

    @property
    def config(self) -> dict[str, Any]:
        """The arguments of the constructor, ready for JSON."""
        names = ("seed", "resolution", "frequencies")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def load(cls, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> ToyGenerator:
        """Build from `config`; `tensors` may be empty or those of `state_dict()`."""
        generator = cls(**config)
        if tensors:
            generator.load_state_dict(dict(tensors))
        return generator

    def mapping(self, z: Tensor) -> Tensor:
        """z [N, z_dim] => w [N, w_dim]: rotate, then add `w_avg`."""
        return self.w_avg + _rowwise(self.rotation.T, z)

    def synthesis(self, w_plus: Tensor) -> Tensor:
        """w_plus [N, num_ws, w_dim] => images [N, 3, resolution, resolution], about [-1, 1]."""
        if w_plus.ndim != 3 or w_plus.shape[1:] != (self.num_ws, self.w_dim):
            raise ValueError(
                f"expected w_plus [N, {self.num_ws}, {self.w_dim}], got {list(w_plus.shape)}; "
                "repeat a w over the rows: w[:, None].expand(-1, G.num_ws, -1)"
            )
        s = self.resolution // 2
        tiles = GAIN * _rowwise(self.basis, w_plus)  # [N, 4, 3 s s]
        tiles = tiles.reshape(-1, 2, 2, 3, s, s).permute(0, 3, 1, 4, 2, 5)  # [N, 3, 2, s, 2, s]
        return tiles.reshape(-1, 3, 2 * s, 2 * s)

    def preview(self, w_plus: Tensor, min_px: int | None = None) -> Tensor:
        """The same as `synthesis`: there is nothing cheaper."""
        return self.synthesis(w_plus)

    def features(self, w_plus: Tensor, names: tuple[str, ...]) -> dict[str, Tensor]:
        """`half` is the image averaged over 2 x 2 px, `full` the image."""
        unknown = set(names) - set(self.feature_names)
        if unknown or not names:
            raise ValueError(
                f"expected feature names among {', '.join(self.feature_names)}, "
                f"got {sorted(unknown) or 'none'}"
            )
        image = self.synthesis(w_plus)
        maps = {"half": avg_pool2d(image, 2), "full": image}
        return {name: maps[name] for name in names}

    def weights(self) -> dict[str, Tensor]:
        """The tensors of `synthesis` that can be tuned, by name."""
        return {"basis": self.basis}

    def kernels(self) -> dict[str, Tensor]:
        """The same as `weights`: the toy has one tensor."""
        return self.weights()

    def invert_exactly(self, images: Tensor) -> Tensor:
        """images [N, 3, resolution, resolution] => the w_plus of the nearest image (least squares).

        For an image of this generator, the result is its own w_plus.
        """
        s = self.resolution // 2
        tiles = images.reshape(-1, 3, 2, s, 2, s).permute(0, 2, 4, 1, 3, 5)  # [N, 2, 2, 3, s, s]
        return _rowwise(self.basis.mT, tiles.reshape(-1, 4, 3 * s * s)) / GAIN


def _rowwise(matrix: Tensor, x: Tensor) -> Tensor:
    """matrix [..., O, I], x [N, ..., I] => [N, ..., O].

    A sum rather than `matmul`, whose rounding depends on N.
    """
    return (matrix * x[..., None, :]).sum(-1)


def tile_basis(size_px: int, frequencies: int) -> Tensor:
    """Orthonormal low cosines (DCT-II) of a tile, [3 size^2, 3 frequencies^2], float64."""
    x = (torch.arange(size_px, dtype=torch.float64) + 0.5) / size_px
    u = torch.arange(frequencies, dtype=torch.float64)
    scale = torch.where(u == 0, math.sqrt(1 / size_px), math.sqrt(2 / size_px))
    wave = torch.cos(math.pi * x[:, None] * u) * scale  # [size, frequencies]
    plane = torch.kron(wave, wave)  # [size^2, frequencies^2]
    return torch.kron(torch.eye(3, dtype=torch.float64), plane)


def random_rotation(dim: int, rng: torch.Generator) -> Tensor:
    """A random orthogonal matrix [dim, dim], float64: QR with R's diagonal made positive."""
    q, r = torch.linalg.qr(torch.randn(dim, dim, generator=rng, dtype=torch.float64))
    out: Tensor = q * r.diagonal().sign()
    return out
