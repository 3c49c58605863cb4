"""Pairs of latents and images from a generator, the targets of a conventional encoder.

In-Domain GAN Inversion for Real Image Editing, Zhu et al. 2020, https://arxiv.org/abs/2004.00049,
eq. 1 trains on (z, G(z)). The paper's generator draws a separate code for each layer; with a
generator that repeats one w, an encoder would never see rows that differ, as in photographs. Our
pairs are mixed: half cross two w at a row, half have every row shifted by a share of another w's
offset from the mean, and all are truncated by a random psi.

A folder holds `pictures.npy` uint8 [N, H, W, 3], `w_plus.npy` float16 [N, num_ws, w_dim] and
`pairs.json`. It is drawn in blocks, and an interrupted run resumes at its last block. Pair i is a
function of the seed and i only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.images import to_uint8
from invertory.training.loop.blocks import BlockFolder, Progress, silent

if TYPE_CHECKING:
    from invertory.generators import Generator

_IMAGES, _LATENTS = "pictures.npy", "w_plus.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The distribution of latents."""

    seed: int = 0
    psi: tuple[float, float] = (0.5, 1.0)  # range of the truncation, uniform
    crossed: float = 0.5  # share of pairs with two w
    moved: float = 0.5  # share of pairs whose rows all differ
    move: float = 0.4  # largest share of another w's offset added to a row


@dataclass(frozen=True, slots=True)
class Pairs:
    """The memory-mapped arrays of a folder."""

    images: np.ndarray  # uint8 [N, H, W, 3]
    w_plus: np.ndarray  # float16 [N, num_ws, w_dim]

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def open(cls, folder: Path) -> Pairs:
        """Open a folder that `prepare_pairs` has finished; raises ValueError otherwise."""
        state = BlockFolder(folder, "pairs").state
        if not state or state["done"] != state["num"]:
            done = f"{state['done']} of {state['num']}" if state else "none"
            raise ValueError(
                f"expected all pairs in {folder}, got {done}: draw them with prepare_pairs"
            )
        return cls(*(np.load(folder / name, mmap_mode="r") for name in (_IMAGES, _LATENTS)))


def prepare_pairs(
    generator: Generator,
    folder: Path,
    num: int,
    *,
    size_px: int,
    draws: Draws | None = None,
    batch_size: int = 8,
    block: int = 64,
    progress: Progress = silent,
) -> Pairs:
    """Draw `num` pairs of `size_px` into the folder, or the missing ones, and open them.

    Runs on the generator's device; images are previews if these are fine enough. Raises ValueError
    if the folder has other settings or the generator is too small.
    """
    settings = _folder_settings(generator, num, size_px, draws or Draws())
    store = BlockFolder(folder, "pairs")
    store.begin(settings)
    arrays = _arrays(folder, settings, generator)
    for rows in store.blocks(settings, num, block, progress):
        w_plus = draw_latents(generator, range(rows.start, rows.stop), draws or Draws())
        parts = [
            render_pair_image(generator, part, size_px) for part in torch.split(w_plus, batch_size)
        ]
        arrays[0][rows] = to_uint8(torch.cat(parts))
        arrays[1][rows] = w_plus.cpu().numpy()
        for array in arrays:
            array.flush()
    return Pairs.open(folder)


@torch.no_grad()
def draw_latents(generator: Generator, rows: Sequence[int], draws: Draws) -> Tensor:
    """Latents of the pairs `rows` => [N, num_ws, w_dim], each from (seed, row) only.

    w' = w_avg + psi (w + move (w_i - w_avg) - w_avg), with a second w from row `cut` on.
    """
    w_avg, n = generator.w_avg.cpu(), generator.num_ws
    shares = [draw_row(_rng(draws.seed, row), n, generator.z_dim, draws) for row in rows]
    z = torch.stack([z for z, *_ in shares])  # [N, 2 + num_ws, z_dim]
    w = generator.mapping(z.flatten(0, 1).to(generator.w_avg)).cpu().view(*z.shape[:2], -1)
    cuts = torch.tensor([cut for _, cut, _, _ in shares])
    is_first = torch.arange(n) < cuts[:, None]  # [N, num_ws]
    w_plus = torch.where(is_first[..., None], w[:, :1], w[:, 1:2])
    moves = torch.tensor([move for *_, move, _ in shares])[:, None, None]
    psi = torch.tensor([psi for *_, psi in shares])[:, None, None]
    w_plus = w_plus + moves * (w[:, 2:] - w_avg)
    return (w_avg + psi * (w_plus - w_avg)).to(generator.w_avg)


def draw_row(
    rng: torch.Generator, num_ws: int, z_dim: int, draws: Draws
) -> tuple[Tensor, int, float, float]:
    """Draws of one pair: z [2 + num_ws, z_dim], the row at which w changes, move and psi."""
    z = torch.randn(2 + num_ws, z_dim, generator=rng)
    is_crossed, is_moved, share, place = torch.rand(4, generator=rng).tolist()
    low, high = draws.psi
    psi = low + (high - low) * float(torch.rand((), generator=rng))
    cut = 1 + int(place * (num_ws - 1)) if is_crossed < draws.crossed else num_ws
    return z, cut, share * draws.move if is_moved < draws.moved else 0.0, psi


@torch.no_grad()
def render_pair_image(generator: Generator, w_plus: Tensor, size_px: int) -> Tensor:
    """w_plus [N, num_ws, w_dim] => [N, 3, size_px, size_px] in [-1, 1], by area means.

    Raises ValueError if the generator is smaller than `size_px`.
    """
    is_fine = generator.preview_resolution >= size_px
    synth = generator.preview(w_plus, size_px) if is_fine else generator.synthesis(w_plus)
    if synth.shape[-1] < size_px:
        raise ValueError(
            f"expected pairs of at most {synth.shape[-1]} px, got {size_px}: the generator "
            "has no finer images"
        )
    shrunk = synth if synth.shape[-1] == size_px else interpolate(synth, size=size_px, mode="area")
    return shrunk.float().clamp(-1, 1)


def _rng(seed: int, row: int) -> torch.Generator:
    digest = hashlib.sha256(f"pair {seed} {row}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def _folder_settings(generator: Generator, num: int, size_px: int, draws: Draws) -> dict[str, Any]:
    """The settings that a folder must have been drawn with to be resumed."""
    digest = hashlib.sha256(generator.w_avg.float().cpu().numpy().tobytes()).hexdigest()
    own = {"w_avg_sha256": digest, "num_ws": generator.num_ws}
    return {"num": num, "size_px": size_px} | own | asdict(draws)


def _arrays(folder: Path, settings: dict[str, Any], generator: Generator) -> list[np.memmap]:
    num, px = settings["num"], settings["size_px"]
    kinds = {
        _IMAGES: ((num, px, px, 3), np.uint8),
        _LATENTS: ((num, generator.num_ws, generator.w_dim), np.float16),
    }
    return [
        np.lib.format.open_memmap(folder / name, mode="r+")
        if (folder / name).exists()
        else np.lib.format.open_memmap(folder / name, mode="w+", dtype=dtype, shape=shape)
        for name, (shape, dtype) in kinds.items()
    ]
