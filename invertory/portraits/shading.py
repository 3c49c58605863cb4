"""Light on skin: Gaussian hills perturb the head's normals; a soft key and a fill light them.

Lambert's law is wrapped around the terminator, more in red than in blue, to approximate subsurface
scattering. Heights are in hu, so slopes are dimensionless.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from invertory.portraits.canvas import Window, clip
from invertory.portraits.head import Floats, Head
from invertory.portraits.portrait import Portrait

WRAP: Final = (0.42, 0.30, 0.24)  # red, green, blue
Hill = tuple[float, float, float, float, float, float]  # X, Y, sx, sy, height, angle


@dataclass(frozen=True, slots=True)
class Lamp:
    """A directional key light, and an ambient fill light that is stronger from above."""

    direction: tuple[float, float, float]  # towards the light: right, down, to the viewer
    key: Floats  # light per channel [3]
    fill: Floats

    @classmethod
    def of(cls, p: Portrait) -> Lamp:
        """The light of this portrait."""
        side, up = math.radians(p.light_deg), math.radians(p.light_height_deg)
        strength = 0.85 + 0.05 * p.light_strength
        warm = 0.02 * p.light_warmth + 0.03
        tint = np.array([1 + warm, 1.0, 1 - warm], np.float32)
        direction = (math.sin(side) * math.cos(up), -math.sin(up), math.cos(side) * math.cos(up))
        return cls(direction, strength * tint, (1.10 - strength) * (2 - tint))

    def on(self, nx: Floats, ny: Floats, nz: Floats) -> Floats:
        """Light [3, h, w] reflected by a matt surface with these unit normals."""
        facing = nx * self.direction[0] + ny * self.direction[1] + nz * self.direction[2]
        sky = 1 - 0.35 * ny
        out = np.empty((3, *facing.shape), np.float32)
        for channel, wrap in enumerate(WRAP):
            lit = np.maximum(facing + wrap, 0) * (1 / (1 + wrap))
            out[channel] = self.key[channel] * lit + self.fill[channel] * sky
        return out

    def glint(self, nx: Floats, ny: Floats, nz: Floats, power: float) -> Floats:
        """Blinn's specular highlight for a frontal viewer, 0 to 1."""
        dx, dy, dz = self.direction
        length = math.sqrt(dx * dx + dy * dy + (dz + 1) ** 2)
        near = np.maximum((nx * dx + ny * dy + nz * (dz + 1)) / length, 0)
        out: Floats = near**power
        return out


@dataclass(slots=True)
class Surface:
    """The visible side of the head over a window, in face coordinates."""

    at: Window
    X: Floats
    Y: Floats
    side: Floats  # sine and cosine of the angle on the row's circle, as seen
    front: Floats
    facing: Floats  # positive on the face's half of the head
    distance: Floats  # to the head's outline, negative inside
    slope: Floats  # dw/dy of each row [h, 1]

    @classmethod
    def of(cls, head: Head, at: Window) -> Surface:
        """The surface at every pixel of the window."""
        width, slope = head.width(at.y), head.slope(at.y)
        w = np.maximum(width, 1e-3)
        off = at.x - head.centre(w)
        side = clip(off / w, -0.999, 0.999)
        front = np.sqrt(1 - side * side)
        cos, sin = math.cos(head.yaw), math.sin(head.yaw)
        return cls(
            at=at,
            X=w * (side * cos - front * sin),
            Y=at.y + np.float32(head.pitch) * w * front,
            side=side,
            front=front,
            facing=front * cos + side * sin,
            distance=(np.abs(off) - width) / np.sqrt(1 + slope * slope),
            slope=slope,
        )

    def around(self, head: Head, x: float, y: float, half_x: float, half_y: float) -> Patch | None:
        """The part of the surface around the face point (x, y); None outside the image."""
        cx, cy = head.place(x, y)
        at = self.at.crop(cx - half_x, cx + half_x, cy - half_y, cy + half_y)
        return None if at is None else Patch(at, at.within(self.at), self)


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of a surface."""

    at: Window
    where: tuple[slice, slice]  # in the surface's arrays
    surface: Surface

    @property
    def X(self) -> Floats:  # noqa: N802
        """Face column of every pixel."""
        return self.surface.X[self.where]

    @property
    def Y(self) -> Floats:  # noqa: N802
        """Face row of every pixel."""
        return self.surface.Y[self.where]

    @property
    def visible(self) -> Floats:
        """0 where this side of the head is turned away, 1 where it faces the viewer."""
        return clip(self.surface.facing[self.where] * 8 - 0.2, 0, 1)


def normals(head: Head, surface: Surface) -> tuple[Floats, Floats, Floats]:
    """Unit normals of head and features: right, down, towards the viewer."""
    slope_x, slope_y = _slopes(head, surface)
    cos, sin = math.cos(head.yaw), math.sin(head.yaw)
    nx = surface.side * 0.92 - slope_x * cos
    ny = clip(-0.5 * surface.slope, -1.2, 1.2) * (1 - 0.45 * surface.front) - slope_y
    nz = surface.front + 0.2 + slope_x * sin * 0.5
    nz = np.maximum(nz, 0.08)
    length = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    return nx * length, ny * length, nz * length


def _slopes(head: Head, surface: Surface) -> tuple[Floats, Floats]:
    """Slopes dh/dX and dh/dY of the hills on the face, averaged over pixels."""
    sx = np.zeros(surface.X.shape, np.float32)
    sy = np.zeros(surface.X.shape, np.float32)
    px2 = surface.at.px**2 / 12
    for x, y, width, height, up, angle in hills(head):
        reach = 2.6 * (max(width, height) if angle else 0)
        if abs(up) < 0.002:
            continue
        patch = surface.around(head, x, y, reach or 2.6 * width, reach or 2.6 * height)
        if patch is None:
            continue
        dx, dy = patch.X - np.float32(x), patch.Y - np.float32(y)
        if angle:
            cos, sin = math.cos(angle), math.sin(angle)
            dx, dy = dx * cos + dy * sin, dy * cos - dx * sin
        vx, vy = width**2 + px2, height**2 + px2
        peak = up * width * height / math.sqrt(vx * vy)
        hill = peak * np.exp(dx * dx * (-0.5 / vx) + dy * dy * (-0.5 / vy))
        gx, gy = hill * dx * (-1 / vx), hill * dy * (-1 / vy)
        if angle:
            gx, gy = gx * cos - gy * sin, gx * sin + gy * cos
        sx[patch.where] += gx
        sy[patch.where] += gy
    return sx, sy


def hills(head: Head) -> list[Hill]:
    """The relief of the face, as Gaussian hills."""
    m, old, nose = head.mouth, head.old, head.nose_y
    out = head.nose_out / 0.3
    smile = max(head.portrait.smile_amount, 0.0)
    middle: list[Hill] = [
        (0, nose * 0.40, 0.075, nose * 0.42, 0.085 * out, 0),
        (0, nose - 0.07, 0.105, 0.105, 0.115 * out, 0),
        (0, nose + 0.10, 0.04, 0.08, -0.014, 0),
        (0, m.y - 0.09, 0.26, 0.07, 0.030, 0),
        (0, m.y + m.open_down + 0.08, 0.2, 0.065, 0.045, 0),
        (0, m.y + m.open_down + 0.23, 0.2, 0.06, -0.040, 0),
        (0, head.chin - 0.2, 0.19, 0.13, 0.065, 0),
        (0, -0.75, 0.5, 0.28, 0.10, 0),
        (0, -0.26, 0.09, 0.08, -0.012 - 0.02 * old, 0),
    ]
    fold = 0.012 + 0.045 * old + 0.03 * smile
    sides: list[Hill] = [
        (head.nose_half * 0.8, nose - 0.01, 0.06, 0.065, 0.062 * out, 0),
        (head.nose_half + 0.09, nose - 0.02, 0.05, 0.08, -0.02, 0),
        (head.eye_x, 0.0, 0.24, 0.14, -0.075 - 0.012 * head.portrait.eye_depth, 0),
        (0.19, -0.04, 0.075, 0.13, -0.055, 0),
        (head.eye_x, 0.0, 0.16, 0.09, 0.035, 0),
        (head.eye_x, -0.27, 0.26, 0.075, 0.028 + 0.02 * head.portrait.male, 0),
        (head.eye_x, 0.2, 0.17, 0.045, -0.008 - 0.03 * old, 0.0),
        (0.66, 0.36, 0.22, 0.17, 0.055, 0),
        (0.47, 0.52, 0.16, 0.12, 0.06 * smile + 0.01, 0),
        (0.62, 0.85, 0.16, 0.26, -0.035 - 0.04 * old, 0),
        (0.39, 0.80, 0.028 + 0.01 * old, 0.19, -fold, -0.42),
        (m.half_width + 0.05, m.y + m.curve * -0.65, 0.045, 0.05, -0.018, 0),
        (m.half_width * 0.9, m.y + 0.27, 0.03, 0.13, -0.025 * old, -0.12),
    ]
    mirrored = [(-x, y, a, b, up, -angle) for x, y, a, b, up, angle in sides]
    return middle + sides + mirrored
