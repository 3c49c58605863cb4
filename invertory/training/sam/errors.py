"""Error maps of inversions in each space, the regression targets of an invertibility predictor.

Spatially-Adaptive Multilayer Selection, Parmar et al. 2022, https://arxiv.org/abs/2206.08357,
section 3.1, eq. 3.1: every image is inverted in each candidate space separately, and the perceptual
distance of the reconstruction is stored per pixel. The paper runs 501 steps on 10,000 images; the
batched engine takes minutes for fewer steps.

A folder holds `errors.npy` float16 [N, S, h, h] and `errors.json`. It is filled in blocks, and an
interrupted run resumes at its last block. A row is a function of its image only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from invertory.generators.f_space import features_of, resolve_spaces, synthesise_with
from invertory.inversion.sam.optimisation import SpatiallyAdaptive
from invertory.precision import Precision
from invertory.training.loop.blocks import BlockFolder, Progress, silent

if TYPE_CHECKING:
    from torch import nn

    from invertory.generators import Generator
    from invertory.perceptual import Perceptual
    from invertory.training.compute import TrainingImages

_ERRORS = "errors.npy"


@dataclass(frozen=True, slots=True, kw_only=True)
class InversionSettings:
    """The settings of the inversion of each image in each space."""

    spaces: tuple[str, ...] = ()  # empty: the generator's defaults
    steps: int = 48
    learning_rate: float = 0.05
    precision: Precision = "float32"
    batch_size: int = 16
    w_samples: int = 2000


@dataclass(frozen=True, slots=True)
class InversionNetworks:
    """The networks that an inversion needs."""

    generator: Generator
    encoder: nn.Module
    perceptual: Perceptual


def prepare_errors(
    inverter: InversionNetworks,
    images: TrainingImages,
    folder: Path,
    settings: InversionSettings,
    *,
    block: int = 32,
    progress: Progress = silent,
) -> np.ndarray:
    """Error maps float16 [N, S, h, h] of all images; computes those missing in the folder.

    h is the smaller of the sizes of images and generator. A folder belongs to one set of images and
    networks, which its name must identify. Raises ValueError if it has other settings.
    """
    spaces = resolve_spaces(inverter.generator, settings.spaces)
    num, px = len(images), min(images.size_px, inverter.generator.resolution)
    folder_settings = {"num": num, "px": px, **asdict(settings), "spaces": list(spaces)}
    store = BlockFolder(folder, "errors")
    path, shape = folder / _ERRORS, (num, len(spaces), px, px)
    if store.begin(folder_settings) == 0:
        np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=shape).flush()
    array = np.load(path, mmap_mode="r+")
    for rows in store.blocks(folder_settings, num, block, progress):
        targets = images[rows]
        maps = [error_maps(inverter, targets, space, settings, px) for space in spaces]
        array[rows] = torch.cat(maps, 1).half().cpu().numpy()
        array.flush()
    errors: np.ndarray = np.load(path, mmap_mode="r")
    return errors


@torch.no_grad()
def error_maps(
    inverter: InversionNetworks, targets: Tensor, space: str, settings: InversionSettings, px: int
) -> Tensor:
    """Eq. 3.1: invert targets [N, 3, H, H] in one space => error maps [N, 1, px, px].

    Inverts with the generator's preview if it is fine enough; errors are of the full synthesis.
    """
    G, perceptual = inverter.generator, inverter.perceptual
    method = SpatiallyAdaptive(
        spaces=(space,),
        preview=px <= G.preview_resolution < G.resolution,
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        precision=settings.precision,
        w_samples=settings.w_samples,
    )
    with torch.enable_grad():
        inversion = method.invert(
            G,
            targets,
            seeds=range(len(targets)),
            perceptual=perceptual,
            batch_size=settings.batch_size,
            networks={"encoder": inverter.encoder},
        )
    maps = []
    for start in range(0, len(targets), settings.batch_size):
        part = slice(start, start + settings.batch_size)
        state = {name: tensor[part].to(targets.device) for name, tensor in inversion.state.items()}
        w_plus = inversion.latents[part].to(targets.device)
        synth = synthesise_with(G, w_plus, features_of(G, state, len(w_plus))).clamp(-1, 1)
        pair = [_reduced(x.float(), px) for x in (synth, targets[part])]
        maps.append(distance_map(perceptual, *pair))
    return torch.cat(maps)


def distance_map(perceptual: Perceptual, a: Tensor, b: Tensor) -> Tensor:
    """Perceptual distance of images [N, 3, h, h] by position, [N, 1, h, h]; its mean is the
    distance.

    As in spatial LPIPS, squared differences of each layer are resized to the images and summed.
    """
    fa, fb = perceptual.features(a), perceptual.features(b)
    size = list(a.shape[-2:])
    layers = [
        interpolate(
            (x.float() - y.float()).square().sum(1, keepdim=True), size=size, mode="bilinear"
        )
        for x, y in zip(fa, fb, strict=True)
    ]
    total = torch.stack(layers).sum(0)
    # rescale, because resizing changes means slightly and distances may weight layers
    scale = perceptual.distance(fa, fb) / total.mean((1, 2, 3)).clamp_min(1e-12)
    return total * scale[:, None, None, None]


def interleaved(sizes: Sequence[int], shares: Sequence[float], num: int) -> list[tuple[int, int]]:
    """(set, row) of `num` images, with sets interleaved by share; rows count from the end.

    Raises ValueError if a set is too small.
    """
    taken = [0] * len(sizes)
    rows = []
    for i in range(num):
        due = [
            share / sum(shares) * (i + 1) - have for share, have in zip(shares, taken, strict=True)
        ]
        chosen = max(range(len(sizes)), key=due.__getitem__)
        taken[chosen] += 1
        rows.append((chosen, sizes[chosen] - taken[chosen]))
    if any(have > size for have, size in zip(taken, sizes, strict=True)):
        raise ValueError(f"expected sets of at least {taken} images, got {list(sizes)}: draw more")
    return rows


def _reduced(x: Tensor, px: int) -> Tensor:
    return x if x.shape[-1] == px else interpolate(x, size=(px, px), mode="area")
