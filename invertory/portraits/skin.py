"""The face: skin with its colour variation, lines and freckles, before shading."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from invertory.portraits import palette
from invertory.portraits.canvas import SEGMENT, Window, bump, clip
from invertory.portraits.head import Floats, Head
from invertory.portraits.palette import linear
from invertory.portraits.shading import Patch, Surface


@dataclass(slots=True)
class Face:
    """The surface before shading: colour, gloss and segment of every pixel."""

    head: Head
    surface: Surface
    albedo: Floats  # [3, h, w]
    gloss: Floats  # [h, w]
    labels: np.ndarray  # [h, w]

    @classmethod
    def bare(cls, head: Head, surface: Surface) -> Face:
        """A face with skin only."""
        p = head.portrait
        tone = linear(palette.skin(p.skin_monk, p.skin_warmth))
        shape = surface.X.shape
        albedo = np.empty((3, *shape), np.float32)
        albedo[:] = tone[:, None, None]
        gloss = np.full(shape, 0.055 + 0.03 * (p.skin_monk > 5) - 0.02 * p.makeup, np.float32)
        return cls(head, surface, albedo, gloss, np.full(shape, SEGMENT["skin"], np.uint8))

    def patch(self, x: float, y: float, half_x: float, half_y: float) -> Patch | None:
        """The part of the face around a point in face coordinates."""
        return self.surface.around(self.head, x, y, half_x, half_y)

    def tint(self, patch: Patch, cover: Floats, colour: Floats, segment: str | None = None) -> None:
        """Blend a colour (linear light) over the patch."""
        below = self.albedo[:, *patch.where]
        below += (
            colour.reshape(3, *(1, 1) if colour.ndim == 1 else colour.shape[1:]) - below
        ) * cover
        if segment is not None:
            self.labels[patch.where][cover > 0.5] = SEGMENT[segment]

    def darken(self, patch: Patch, amount: Floats, keep: tuple[float, float, float]) -> None:
        """Multiply the patch towards `keep` in proportion to `amount`."""
        for channel, kept in enumerate(keep):
            self.albedo[channel][patch.where] *= 1 - (1 - kept) * amount


def draw_skin(face: Face) -> None:
    """Draw blood, freckles, age lines and shaded folds."""
    head, p = face.head, face.head.portrait
    red = 0.55 + 0.12 * p.skin_warmth
    blush = red * (1.35 if p.makeup else 1.0)
    for x, y, sx, sy, much in (
        (-0.56, 0.5, 0.2, 0.16, 0.17 * blush),
        (0.56, 0.5, 0.2, 0.16, 0.17 * blush),
        (0.0, head.nose_y - 0.04, 0.15, 0.1, 0.16 * red),
        (0.0, head.chin - 0.2, 0.16, 0.1, 0.07 * red),
        (-head.eye_x, -0.01, 0.26, 0.15, 0.16),
        (head.eye_x, -0.01, 0.26, 0.15, 0.16),
    ):
        patch = face.patch(x, y, 2.5 * sx, 2.5 * sy)
        if patch is not None:
            hill = bump(patch.X - x, patch.Y - y, sx, sy, patch.at.px)
            face.darken(patch, hill * much, (0.75, 0.12, 0.05))
    _nostrils(face)
    _lines(face)
    if p.freckles:
        _freckles(face)


def _nostrils(face: Face) -> None:
    head = face.head
    y = head.nose_y
    base = face.patch(0, y + 0.02, head.nose_half + 0.25, 0.2)
    if base is None:
        return
    X = base.X - 0.3 * head.nose_out * math.sin(head.yaw)
    for sign in (-1, 1):
        hole = bump(X - sign * head.nose_half * 0.42, base.Y - y - 0.028, 0.050, 0.022, base.at.px)
        wing = bump(X - sign * head.nose_half * 1.0, base.Y - y + 0.03, 0.022, 0.07, base.at.px)
        face.darken(base, np.minimum(hole * 1.0, 1), (0.2, 0.12, 0.1))
        face.darken(base, wing * 0.35, (0.4, 0.25, 0.2))
    under = bump(X, base.Y - y - 0.055, head.nose_half * 0.62, 0.03, base.at.px)
    face.darken(base, under * 0.4, (0.4, 0.25, 0.2))


def _lines(face: Face) -> None:
    """Draw nasolabial folds, lines of forehead and eyes, and bags, which darken with age."""
    head, m = face.head, face.head.mouth
    smile = max(head.portrait.smile_amount, 0.0)
    deep = min(0.07 + 0.55 * head.old + 0.28 * smile, 0.8)
    ink = (0.45, 0.28, 0.22)
    for sign in (-1, 1):
        fold = face.patch(sign * 0.38, 0.82, 0.3, 0.42)
        if fold is not None:
            t = clip((fold.Y - head.nose_y) / (m.y + 0.08 - head.nose_y), -0.3, 1.3)
            path = sign * (
                head.nose_half + 0.03 + (m.half_width - head.nose_half + 0.08) * t**2 * np.sign(t)
            )
            along = clip(4 * (t + 0.05), 0, 1) * clip(4 * (1.0 - t), 0, 1)
            face.darken(fold, deep * along * bump(fold.X - path, 0 * t, 0.028, 1, fold.at.px), ink)
        bag = face.patch(sign * head.eye_x, 0.18, 0.34, 0.16)
        if bag is not None:
            t = (bag.X - sign * head.eye_x) / 0.24
            path = 0.125 + head.eye_down + 0.03 * (1 - t * t)
            cover = bump(bag.Y - path, 0 * t, 0.022, 1, bag.at.px) * np.maximum(1 - t * t, 0)
            face.darken(bag, (0.1 + 0.6 * head.old + 0.1 * smile) * cover, ink)
        if head.old > 0.3:
            _crows_feet(face, sign, ink)
    if head.old > 0.15:
        _forehead(face, ink)


def _crows_feet(face: Face, sign: int, ink: tuple[float, float, float]) -> None:
    head = face.head
    feet = face.patch(sign * (head.eye_x + 0.34), 0.02, 0.18, 0.2)
    if feet is None:
        return
    dx = (feet.X * sign - head.eye_x - head.eye_half - 0.03) / 0.14
    within = clip(4 * dx, 0, 1) * clip(2 * (1 - dx), 0, 1)
    for spread in (-0.09, 0.02, 0.12):
        line = bump(feet.Y + 0.01 - spread * (0.3 + dx), 0 * dx, 0.014, 1, feet.at.px)
        face.darken(feet, 0.75 * head.old * within * line, ink)


def _forehead(face: Face, ink: tuple[float, float, float]) -> None:
    head = face.head
    brow = face.patch(0, -0.68, 0.65, 0.28)
    if brow is None:
        return
    across = np.exp(-((brow.X / 0.42) ** 4))
    for row in (-0.56, -0.69, -0.82):
        path = row + 0.025 * np.cos(brow.X * 7)
        line = bump(brow.Y - path, 0 * across, 0.016, 1, brow.at.px)
        face.darken(brow, 0.6 * head.old * across * line, ink)
    between = face.patch(0, -0.22, 0.16, 0.16)
    if between is not None:
        for sign in (-1, 1):
            line = bump(between.X - sign * 0.055, between.Y + 0.24, 0.014, 0.07, between.at.px)
            face.darken(between, 0.6 * head.old * line, ink)


def _freckles(face: Face) -> None:
    p = face.head.portrait
    rng = np.random.PCG64(p.texture_seed).random_raw(120)
    even = ((rng >> np.uint64(11)).astype(np.float64) * 2.0**-53).reshape(3, 40)
    for x, y, size in zip(1.2 * even[0] - 0.6, 0.15 + 0.5 * even[1], even[2], strict=True):
        radius = 0.014 + 0.012 * size
        patch = face.patch(float(x), float(y), 3 * radius, 3 * radius)
        if patch is not None:
            spot = bump(patch.X - x, patch.Y - y, radius, radius, patch.at.px)
            face.darken(patch, 0.7 * p.freckles * spot, (0.6, 0.4, 0.3))


def clip_window(window: Window, head: Head) -> Window | None:
    """The part of the image that the head can cover."""
    return window.crop(-1.35, 1.35, head.top - 0.1, head.chin + 0.1)
