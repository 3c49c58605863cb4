"""The image being drawn: light in planes, a segment per pixel, and antialiased edges.

Every shape is a signed distance d in head units, negative inside; its coverage of a pixel is
clip(1/2 - d / pixel), the exact area for a straight edge through the middle of the pixel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from invertory.portraits.attributes import SEGMENTS
from invertory.portraits.head import Floats
from invertory.portraits.landmarks import Crop

SEGMENT: Final = {name: index for index, name in enumerate(SEGMENTS)}


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of pixels with their head coordinates: x is a row vector, y a column vector."""

    rows: slice
    columns: slice
    x: Floats  # [1, w]
    y: Floats  # [h, 1]
    px: float  # side of a pixel, hu

    def __iter__(self) -> Iterator[slice]:
        return iter((self.rows, self.columns))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.y.shape[0], self.x.shape[1]

    def crop(self, x0: float, x1: float, y0: float, y1: float) -> Window | None:
        """The part of the window between these head coordinates; None if they do not overlap."""
        left, top = float(self.x[0, 0]), float(self.y[0, 0])
        c0, c1 = _span((x0 - left) / self.px, (x1 - left) / self.px, self.x.shape[1])
        r0, r1 = _span((y0 - top) / self.px, (y1 - top) / self.px, self.y.shape[0])
        if c0 >= c1 or r0 >= r1:
            return None
        return Window(
            slice(self.rows.start + r0, self.rows.start + r1),
            slice(self.columns.start + c0, self.columns.start + c1),
            self.x[:, c0:c1],
            self.y[r0:r1],
            self.px,
        )

    def within(self, outer: Window) -> tuple[slice, slice]:
        """Slices of this window into arrays that cover `outer`."""
        return (
            slice(self.rows.start - outer.rows.start, self.rows.stop - outer.rows.start),
            slice(
                self.columns.start - outer.columns.start, self.columns.stop - outer.columns.start
            ),
        )


class Canvas:
    """A square image of `size` pixels over a crop of the head's plane."""

    def __init__(self, crop: Crop, size: int) -> None:
        self.px = crop.side / size
        steps = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(self.px)
        x, y = steps + np.float32(crop.left), steps + np.float32(crop.top)
        self.window = Window(slice(0, size), slice(0, size), x[None], y[:, None], self.px)
        self.light = np.zeros((3, size, size), np.float32)
        self.labels = np.zeros((size, size), np.uint8)

    def paint(self, at: Window, cover: Floats, light: Floats, segment: str | None = None) -> None:
        """Blend `light` ([3] or [3, h, w]) over the window with this coverage [h, w]."""
        rows, columns = at
        below = self.light[:, rows, columns]
        below += (_planes(light) - below) * cover
        if segment is not None:
            self.labels[rows, columns][cover > 0.5] = SEGMENT[segment]

    def shade(self, at: Window, factor: Floats) -> None:
        """Multiply the light of the window by a factor [h, w]."""
        rows, columns = at
        self.light[:, rows, columns] *= factor


def _planes(light: Floats) -> Floats:
    return light[:, None, None] if light.ndim == 1 else light


def _span(first: float, last: float, num: int) -> tuple[int, int]:
    return max(int(np.floor(first)), 0), min(int(np.ceil(last)) + 1, num)


def clip(a: Floats, low: float, high: float) -> Floats:
    """np.clip without its checks, which take half of the time on small arrays."""
    return np.minimum(np.maximum(a, low), high)


def coverage(distance: Floats, px: float) -> Floats:
    """Share of each pixel inside the edge at distance 0."""
    return clip(0.5 - distance / px, 0, 1)


def ellipse(dx: Floats, dy: Floats, a: float, b: float) -> Floats:
    """First-order distance to an ellipse's edge: (r - 1) r / |grad r^2 / 2|."""
    x, y = dx / a, dy / b
    r = np.hypot(x, y)
    out: Floats = (r - 1) * r / np.maximum(np.hypot(x / a, y / b), 1e-6)
    return out


def fade(cycles_per_hu: Floats | float, px: float) -> Floats:
    """Amplitude of a fine wave after averaging over pixels (the sinc of a box filter)."""
    cycles = np.minimum(np.asarray(cycles_per_hu, np.float32) * px, 1.0)
    left: Floats = np.maximum(np.sinc(cycles), 0)
    return left


def bump(dx: Floats, dy: Floats, sx: float, sy: float, px: float) -> Floats:
    """A Gaussian of height 1 and widths sx, sy, averaged over pixels of this size."""
    vx, vy = sx * sx + px * px / 12, sy * sy + px * px / 12
    height = sx * sy / math.sqrt(vx * vy)
    return height * np.exp(-0.5 * (dx * dx / vx + dy * dy / vy))
