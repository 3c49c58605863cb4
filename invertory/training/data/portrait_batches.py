"""Batches of labelled portraits for the networks that read images, with held-out rows.

A set can also consist of images without labels: uint8 [N, H, W, 3].

Several sets are mixed with fixed shares, for example in-domain portraits and portraits with objects
that the generator never sees: attributes such as a hat occur only in the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from invertory.training.compute import Compute, TrainingImages, batch_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invertory.portraits.dataset import PortraitSet

Split = Literal["train", "calibration", "test"]
Kind = Literal["attributes", "segmentations", "landmarks"]
Rows = dict[str, Tensor]  # set => rows, int64


@dataclass(frozen=True, slots=True)
class _Set:
    """One set: images by row, and labels by kind and row."""

    images: TrainingImages
    labels: dict[str, np.ndarray]
    share: float


class PortraitMix:
    """Portraits of several sets; the last 2 `held_out` rows of each set are held out.

    The first half of these is for calibration, the second for tests. Raises ValueError if shares,
    sizes or numbers do not fit.
    """

    def __init__(
        self,
        sets: Mapping[str, PortraitSet | np.ndarray],
        shares: Sequence[float],
        *,
        held_out: int,
        compute: Compute,
    ) -> None:
        _check(sets, shares, held_out)
        self.held_out, self._compute = held_out, compute
        self._sets = {
            name: _Set(TrainingImages(images_of(source), compute), _labels(source), share)
            for (name, source), share in zip(sets.items(), shares, strict=True)
        }

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._sets)

    @property
    def sets(self) -> list[TrainingImages]:
        """The images of each set."""
        return [one.images for one in self._sets.values()]

    @property
    def size_px(self) -> int:
        return next(iter(self._sets.values())).images.size_px

    def batch(self, batch_size: int, *, seed: int, step: int) -> Rows:
        """Training rows of a step; every batch has the same number of rows from each set.

        Raises ValueError if a set has too few rows.
        """
        total = sum(one.share for one in self._sets.values())
        rows: Rows = {}
        left, left_share = batch_size, total
        for name, one in self._sets.items():
            num = round(left * one.share / left_share)
            left, left_share = left - num, left_share - one.share
            if num:
                trained = len(one.images) - 2 * self.held_out
                if trained < num:
                    raise ValueError(
                        f"expected at least {num} portraits in {name!r} beside {2 * self.held_out} "
                        f"held out, the number per batch, got {trained}: prepare more, or "
                        "lower batch_size or held_out"
                    )
                rows[name] = batch_rows(trained, num, seed=seed, step=step)
        return rows

    def held(self, split: Literal["calibration", "test"], name: str) -> Rows:
        """The held-out rows of one set."""
        last = len(self._sets[name].images) - (self.held_out if split == "calibration" else 0)
        return {name: torch.arange(last - self.held_out, last)}

    def images(self, rows: Rows) -> Tensor:
        """float32 [N, 3, H, W] in [-1, 1] on the device."""
        return torch.cat([self._sets[name].images[indices] for name, indices in rows.items()])

    def has_labels(self, name: str) -> bool:
        """Whether the set has labels."""
        return bool(self._sets[name].labels)

    def labels(self, rows: Rows, kind: Kind) -> Tensor:
        """[N, A] float32, [N, H, W] uint8, or [N, 68, 2] float32 (x, y) px, on the device."""
        arrays = [self._sets[name].labels[kind][indices.numpy()] for name, indices in rows.items()]
        return torch.from_numpy(np.concatenate(arrays)).to(self._compute.device)


def images_of(source: PortraitSet | np.ndarray) -> np.ndarray:
    """The images uint8 [N, H, W, 3] of a set."""
    return source if isinstance(source, np.ndarray) else source.images


def _labels(portraits: PortraitSet | np.ndarray) -> dict[str, np.ndarray]:
    if isinstance(portraits, np.ndarray):
        return {}
    return {
        "attributes": portraits.attributes,
        "segmentations": portraits.segmentations,
        "landmarks": portraits.landmarks,
    }


def _check(
    sets: Mapping[str, PortraitSet | np.ndarray], shares: Sequence[float], held_out: int
) -> None:
    if not sets or len(shares) != len(sets) or min(shares) <= 0 or held_out < 1:
        raise ValueError(
            f"expected a positive share for each of the sets {list(sets)} and held_out from 1, got "
            f"{list(shares)} and {held_out}"
        )
    for name, source in sets.items():
        if len(images_of(source)) <= 2 * held_out:
            raise ValueError(
                f"expected more than {2 * held_out} images in {name!r} (twice held_out), got "
                f"{len(images_of(source))}: prepare more, or hold out fewer"
            )
    sizes = {tuple(images_of(source).shape[1:3]) for source in sets.values()}
    if len(sizes) > 1:
        raise ValueError(
            f"expected sets of one image size, got {sorted(sizes)}: prepare them at one size"
        )
