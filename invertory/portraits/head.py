"""The head in three dimensions: outline, pose, and the position of each feature.

The head is a stack of circles: row y has half width w(y), so a pixel at x lies at the angle asin((x
- centre) / w) of its circle, and turning the head by yaw adds to that angle. Features are placed in
face coordinates (X, Y), which are x and y seen from the front; occlusion and foreshortening follow.
Positions are in head units (`appearance.py`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from invertory.portraits.portrait import Portrait

Floats = npt.NDArray[
    np.floating[Any]
]  # float32 in practice; NumPy's stubs lose the width in arithmetic
WIDEST: Final = -0.15  # row between skull and jaw
TABLE_ROWS: Final = 384
TABLE_RANGE: Final = (-1.7, 2.2)


@dataclass(frozen=True, slots=True)
class Mouth:
    """The curves of the mouth; heights are above (up) and below (down) the line of the lips."""

    y: float
    half_width: float
    upper: float  # thickness of the lips at the middle
    lower: float
    curve: float  # elevation of the corners
    open_up: float  # the opening at the middle
    open_down: float

    def line(self, x: Floats) -> Floats:
        """Row of the line between the lips at column X."""
        t = np.clip(x / self.half_width, -1.25, 1.25)
        out: Floats = self.y + self.curve * (0.35 - t * t)
        return out


@dataclass(frozen=True, slots=True)
class Head:
    """The shapes of a portrait, with its traits modified by sex, age and expression."""

    portrait: Portrait
    yaw: float  # radians
    pitch: float  # tangent
    top: float
    chin: float
    eye_x: float
    eye_half: float  # half width of an eye
    eye_up: float  # lid heights above and below the line between its corners
    eye_down: float
    eye_tilt: float
    brow_y: float
    brow_half: float  # half thickness
    brow_arch: float
    brow_tilt: float
    nose_y: float  # base of the nose
    nose_half: float  # half width at the wings
    nose_out: float  # protrusion of the tip
    mouth: Mouth
    old: float  # 0 at 35 years to 1 at 80
    rows: Floats = field(repr=False)  # table of y, w and dw/dy
    widths: Floats = field(repr=False)
    slopes: Floats = field(repr=False)

    @classmethod
    def of(cls, p: Portrait) -> Self:
        """The head of this portrait."""
        old = _years_on_face(p.age_years)
        top = -1.42 - 0.06 * p.forehead_height - 0.02 * p.male
        chin = 1.6 + 0.065 * p.face_length + 0.04 * p.chin_length + 0.05 * p.male
        rows, widths, slopes = _outline(p, top, chin, old)
        smile, opened = p.smile_amount, p.mouth_open_amount
        squint = 0.14 * max(smile, 0.0) + 0.08 * old
        eye_half = 0.232 + 0.013 * p.eye_size - 0.010 * p.male
        eye_up = (0.125 + 0.010 * p.eye_openness - 0.016 * p.male) * (1 - 0.6 * squint)
        return cls(
            portrait=p,
            yaw=math.radians(p.yaw_deg),
            pitch=math.tan(math.radians(p.pitch_deg)),
            top=top,
            chin=chin,
            eye_x=0.47 + 0.018 * p.eye_spacing,
            eye_half=eye_half,
            eye_up=eye_up + 0.005 * p.eye_size,
            eye_down=(0.066 + 0.006 * p.eye_openness) * (1 - squint),
            eye_tilt=0.05 + 0.05 * p.eye_tilt - 0.05 * old,
            brow_y=-0.315 - 0.03 * p.brow_height + 0.055 * p.male + 0.02 * old,
            brow_half=0.030 + 0.008 * p.brow_thickness + 0.014 * p.male,
            brow_arch=0.06 + 0.02 * p.brow_arch - 0.03 * p.male,
            brow_tilt=0.03 * p.brow_tilt - 0.03 * min(smile, 0.0),
            nose_y=0.60 + 0.04 * p.nose_length + 0.02 * old,
            nose_half=0.215 + 0.03 * p.nose_width + 0.018 * p.male + 0.012 * (p.skin_monk > 6.5),
            nose_out=0.30 + 0.05 * p.nose_height + 0.03 * p.male,
            mouth=_mouth(p, old, smile, opened),
            old=old,
            rows=rows,
            widths=widths,
            slopes=slopes,
        )

    def width(self, y: npt.ArrayLike) -> Floats:
        """Half width of the head at row y; negative above the top and below the chin."""
        out: Floats = np.interp(np.asarray(y), self.rows, self.widths).astype(np.float32)
        return out

    def slope(self, y: npt.ArrayLike) -> Floats:
        """dw/dy at row y."""
        out: Floats = np.interp(np.asarray(y), self.rows, self.slopes).astype(np.float32)
        return out

    def centre(self, w: Floats) -> Floats:
        """Column of the circle's centre for half width w; the depth of the profile is constant."""
        return (math.sin(self.yaw) * 0.75 * (1 - np.clip(w, 0.45, 1.0))).astype(np.float32)

    def place(self, X: float, Y: float, *, out: float = 0.0) -> tuple[float, float]:
        """`project` for a single point, without arrays."""
        y, w, turned = Y, 1.0, 0.0
        for _ in range(3):
            at = (y - TABLE_RANGE[0]) / (TABLE_RANGE[1] - TABLE_RANGE[0]) * (TABLE_ROWS - 1)
            low = min(max(int(at), 0), TABLE_ROWS - 2)
            near, far = self.widths.item(low), self.widths.item(low + 1)
            w = max(near + (far - near) * min(max(at - low, 0.0), 1.0), 0.05)
            turned = math.asin(min(max(X / w, -1.0), 1.0)) + self.yaw
            turned = min(max(turned, -math.pi / 2), math.pi / 2)
            y = Y - self.pitch * (w * math.cos(turned) + out)
        sin = math.sin(self.yaw)
        centre = sin * 0.75 * (1 - min(max(w, 0.45), 1.0))
        return centre + w * math.sin(turned) + out * sin, y

    def project(self, face: npt.ArrayLike, *, out: npt.ArrayLike = 0.0) -> Floats:
        """Face coordinates (X, Y) [n, 2], `out` hu above the skin => image (x, y) [n, 2].

        Points beyond the silhouette slide along it, as contour landmarks do.
        """
        X, Y = np.asarray(face, np.float32).T
        y = Y.copy()
        for _ in range(4):  # row and width depend on each other; converges at once
            w = np.maximum(self.width(y), 0.05)
            turned = np.arcsin(np.clip(X / w, -1, 1)) + self.yaw
            turned = np.clip(turned, -math.pi / 2, math.pi / 2)
            y = Y - self.pitch * (w * np.cos(turned) + out)
        x = self.centre(w) + w * np.sin(turned) + np.asarray(out) * math.sin(self.yaw)
        return np.stack([x, y], axis=1).astype(np.float32)


def _years_on_face(age_years: float) -> float:
    """Apparent age, 0 to 1: increases slowly from 35 to 80 years and fastest at about 59."""
    even = min(max((age_years - 35) / 45, 0.0), 1.0)
    return 0.5 * even + 0.5 / (1 + math.exp(-(age_years - 59) / 2.5))


def _mouth(p: Portrait, old: float, smile: float, opened: float) -> Mouth:
    thin = 1 - 0.35 * old
    full = 1.12 if p.skin_monk > 6.5 else 1.0
    width = 0.375 + 0.028 * p.mouth_width + 0.02 * p.male
    return Mouth(
        y=1.0 + 0.02 * opened,
        half_width=width * (1 + 0.24 * max(smile, 0.0) - 0.05 * opened),
        upper=(0.070 + 0.015 * p.upper_lip - 0.014 * p.male) * thin * full,
        lower=(0.108 + 0.02 * p.lower_lip - 0.012 * p.male) * thin * full,
        curve=0.16 * smile if smile > 0 else 0.085 * smile,
        open_up=0.05 * opened + 0.03 * opened * max(smile, 0.0),
        open_down=0.15 * opened,
    )


def _outline(p: Portrait, top: float, chin: float, old: float) -> tuple[Floats, Floats, Floats]:
    """Table of the half width: one superellipse for the skull, another for cheeks and jaw."""
    y = np.linspace(*TABLE_RANGE, TABLE_ROWS)
    skull = np.clip((WIDEST - y) / (WIDEST - top), 0, 1)
    jaw = np.clip((y - WIDEST) / (chin - WIDEST), 0, 1)
    square = 2.75 + 0.45 * p.jaw_width + 0.65 * p.male + 0.15 * old
    w = (1 - skull**2.5) ** (1 / 2.25) * (1 - jaw**square) ** (1 / 1.85)
    full = 0.03 * p.cheek_fullness
    w += full * np.exp(-(((y - 0.75) / 0.35) ** 2)) * (w > 0)
    w -= 0.03 * np.exp(-(((y + 0.55) / 0.25) ** 2)) * (w > 0)
    w = np.where(y < top, 2.0 * (y - top), np.where(y > chin, 2.0 * (chin - y), w))
    slope = np.clip(np.gradient(w, y), -6, 6)
    return y.astype(np.float32), w.astype(np.float32), slope.astype(np.float32)
