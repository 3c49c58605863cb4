"""Training and test images for the classifiers: portraits, and each method's reconstructions.

Reconstructions are cached under a digest of the networks, parameters and portraits, so that a
second run does not invert again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from benchmarks.compare.budgets import BUDGETS, Arm
from benchmarks.compare.judges import CANNOT
from invertory.images import to_tensor, to_uint8
from invertory.inversion import METHODS
from invertory.inversion.drawing import draw_latents
from invertory.ops.invert import resize
from invertory.pipelines.networks.load import load_generator, load_method_networks, load_perceptual
from invertory.pipelines.networks.resolve import generator_networks, method_networks
from invertory.pipelines.recipe.recipe import Recipe
from invertory.portraits.dataset import LOOK, PortraitSet, prepare
from invertory.resources.models import ModelStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from invertory.generators import Generator
    from invertory.perceptual import Perceptual

Pictures = npt.NDArray[np.uint8]  # [N, H, W, 3]
ORIGINAL = "original"
TRAIN_SEED, TEST_SEED = 90_031, 90_032  # of people that no training has seen
CHUNK = 256  # images held in memory at once
# Methods with a generator of their own: arm => (method, prefix of the names of its cards)
PAIRS: dict[str, tuple[str, str]] = {
    "invgan": ("invgan", "portraits_invgan"),
    "invgan, augmented": ("invgan", "portraits_invgan_augmented"),
    "invgan, naive": ("invgan", "portraits_invgan_naive"),
    "invgan_tiled": ("invgan_tiled", "portraits_patches"),
}


@dataclass(frozen=True, slots=True)
class Portraits:
    """Portraits for training and testing, with their attributes."""

    train: PortraitSet
    test: PortraitSet

    @classmethod
    def of(cls, num_train: int, num_test: int, size_px: int, folder: Path) -> Portraits:
        """Draw the portraits into the folder, unless they exist."""
        sets = [
            prepare(folder / f"people-{seed}-{num}-{size_px}px-{LOOK}", num, size_px=size_px,
                    seed=seed)
            for seed, num in ((TRAIN_SEED, num_train), (TEST_SEED, num_test))
        ]  # fmt: skip
        return cls(*sets)


@dataclass(frozen=True, slots=True)
class Source:
    """Images of the people in `Portraits`, in the same order."""

    name: str
    train: Pictures
    test: Pictures
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inverter:
    """An arm with its networks; `metadata` is everything that its reconstructions depend on."""

    arm: Arm
    generator: Generator
    networks: dict[str, nn.Module]
    perceptual: Perceptual
    metadata: dict[str, Any]

    @property
    def is_feed_forward(self) -> bool:
        return METHODS[self.arm.method].kind == "feed_forward"

    def reconstruct(self, images: Pictures, batch: int) -> tuple[Pictures, int]:
        """(reconstructions of the same people, number of rejects)."""
        made, rejected = np.empty_like(images), 0
        for start in range(0, len(images), CHUNK):
            rows = slice(start, start + CHUNK)
            targets = to_tensor(list(images[rows]))
            found, num = self._made(targets, start, batch)
            made[rows], rejected = to_uint8(found), rejected + num
        return made, rejected

    def _made(self, targets: Tensor, first: int, batch: int) -> tuple[Tensor, int]:
        method, G = self.arm.build(), self.generator
        found = method.invert(
            G,
            targets,
            seeds=range(first, first + len(targets)),
            perceptual=self.perceptual,
            batch_size=batch,
            networks=self.networks,
        )
        parts = []
        with torch.no_grad():
            for start in range(0, len(targets), batch):
                rows = slice(start, start + batch)
                w_plus = found.latents[rows].expand(-1, G.num_ws, -1)
                state = {name: tensor[rows] for name, tensor in found.state.items()}
                made = draw_latents(method, G, w_plus, state, networks=self.networks)
                parts.append(resize(made.float().clamp(-1, 1), targets.shape[-1]))
        return torch.cat(parts), int((~found.is_finite).sum())


def arms(wanted: list[str], models: ModelStore) -> list[tuple[Arm, str]]:
    """(arm, address of its generator, empty for the default), filtered by the `wanted` names.

    The arms of the comparison with their budgets come first, then the available `PAIRS`.
    """
    found = [(arm, "") for arm in BUDGETS["portraits"].arms() if not arm.is_ablation]
    named = {method for method, _ in PAIRS.values()}
    found = [(arm, address) for arm, address in found if arm.method not in named]
    sources = {card.name: card.source for card in models.cards()}
    for name, (method, stem) in PAIRS.items():
        generator, encoder = f"{stem}_generator", f"{stem}_encoder"
        if method in METHODS and generator in sources and encoder in sources:
            arm = Arm(name, method, {"invgan": sources[encoder]})
            found.append((arm, sources[generator]))
    return [(arm, at) for arm, at in found if not wanted or {arm.name, arm.method} & set(wanted)]


def loaded(
    arm: Arm, generator: str, size_px: int, absent: dict[str, str], models: ModelStore
) -> Inverter | None:
    """The arm with its networks; None if one is missing, with the reason in `absent`."""
    recipe = _recipe(arm, generator)
    own = method_networks(recipe, arm.method, models)
    missing = [n.missing for n in (*generator_networks(recipe, models).values(), *own.values())]
    try:
        if any(missing):
            raise FileNotFoundError("; ".join(filter(None, missing)))
        G = load_generator(recipe, models)
        if arm.method == "invgan_tiled":  # tiles per side that cover the image
            tiles = max(size_px // G.resolution, 1)
            arm = Arm(arm.name, arm.method, {**arm.parameters, "tiles": tiles})
        networks = load_method_networks(recipe, arm.method, models)
        perceptual = cast("Perceptual", load_perceptual(recipe, models))
    except CANNOT as error:
        absent[arm.name] = str(error)
        return None
    files = {**generator_networks(recipe, models), **own}
    metadata = {
        "method": arm.method,
        "parameters": dict(arm.parameters),
        "networks": {name: file.sha256 for name, file in files.items()},
    }
    return Inverter(arm, G, networks, perceptual, metadata)


def source(
    inverter: Inverter, people: Portraits, folder: Path, *, batch: int, shown: Callable[[str], None]
) -> Source:
    """The reconstructions of both sets, read from the folder if they exist."""
    made, rejected = [], 0
    for one in (people.train, people.test):
        key = json.dumps([inverter.metadata, one.seed, one.images.shape, LOOK], sort_keys=True)
        mark = hashlib.sha256(key.encode()).hexdigest()[:16]
        path = folder / f"{inverter.arm.method}-{mark}.npz"
        if not path.is_file():
            shown(f"{inverter.arm.name}: inverting {len(one)} portraits")
            images, num = inverter.reconstruct(np.asarray(one.images), batch)
            _keep(path, images, num)
        with np.load(path) as kept:
            made.append(kept["pictures"])
            rejected += int(kept["rejected"])
    return Source(inverter.arm.name, made[0], made[1], {**inverter.metadata, "rejected": rejected})


def _keep(path: Path, images: Pictures, rejected: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez(part, pictures=images, rejected=rejected)
    part.replace(path)


def _recipe(arm: Arm, generator: str) -> Recipe:
    choice = {"name": "portraits"} | ({"weights": generator} if generator else {})
    addresses = {k: v for k, v in arm.parameters.items() if isinstance(v, str) and "://" in v}
    return Recipe.model_validate(
        {
            "name": "semantic_matrix",
            "collection": {"uri": "portraits://?num=1"},
            "generator": choice,
            "perceptual": {"name": "portraits_classifier"},
            "methods": {arm.method: addresses},
        }
    )
