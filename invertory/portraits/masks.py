"""Masks: a pleated surgical mask over nose, mouth and chin, and a carnival mask around the eyes."""

from __future__ import annotations

import math

import numpy as np

from invertory.portraits import palette
from invertory.portraits.backdrop import ear_place
from invertory.portraits.canvas import Canvas, Window, bump, coverage, ellipse, fade
from invertory.portraits.head import Floats, Head
from invertory.portraits.ood import OodObject
from invertory.portraits.palette import linear
from invertory.portraits.shading import Lamp, Surface
from invertory.portraits.streams import uniforms

_CLOTHS = ((0.55, 0.72, 0.82), (0.88, 0.89, 0.88), (0.16, 0.17, 0.19), (0.62, 0.76, 0.70))
_GOLD = (0.86, 0.70, 0.30)


def draw_mask(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp, mask: OodObject) -> None:
    """Draw a mask: variant 0 leaves the eyes visible, variant 1 the mouth."""
    (_surgical, _carnival)[mask.variant](canvas, head, surface, lamp, mask)


def _surgical(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp, mask: OodObject) -> None:
    p, at = head.portrait, canvas.window
    hangs = 0.30 * max(p.beard_length - 0.2, 0.0) if p.beard == "full" else 0.0
    low = np.clip((at.y - 0.6) / 0.8, 0, 1) * hangs
    w = head.width(at.y - low - 0.05)
    slope = np.clip(head.slope(at.y - low), -3, 3)
    outline = (
        np.abs(at.x - head.centre(np.maximum(w, 0.05))) - 1.02 * w - 0.03 * (w > 0)
    ) / np.sqrt(1 + slope * slope)
    X, Y = surface.X, surface.Y
    side = np.abs(X) / 0.9
    top = 0.30 + 0.30 * side**1.6
    back = np.where(surface.facing < 0.25, 0.25 - surface.facing, -1.0)
    d = np.maximum(np.maximum(outline, top - Y), np.maximum(back, at.y - head.chin - hangs - 0.07))
    tone = linear(_CLOTHS[int(uniforms(mask.seed, 1)[0] * len(_CLOTHS))])
    for row in (0.45, 0.95):
        _strap(canvas, head, row, tone)
    bulge = 1 - 0.55 * np.exp(-(X * X) / 0.10)
    light = lamp.on(surface.side * bulge, 0.35 * (Y - 0.8), np.maximum(surface.front, 0.2))
    pleats = 1 - 0.16 * sum(bump(Y - row, 0 * X, 0.025, 1, at.px) for row in (0.62, 0.84, 1.06))
    wire = 1 - 0.2 * bump(Y - top - 0.07, 0 * X, 0.025, 1, at.px) * (np.abs(X) < 0.4)
    weave = 1 + 0.03 * np.sin(90 * X) * np.sin(90 * Y) * fade(14, at.px)
    cloth = tone[:, None, None] * light * (pleats * wire * weave)
    canvas.paint(at, coverage(d, at.px), cloth, "ood")


def _strap(canvas: Canvas, head: Head, row: float, tone: Floats) -> None:
    """Draw a strap from the side of the mask to the visible ear."""
    at = canvas.window
    for sign in (-1, 1):
        if sign * head.portrait.yaw_deg > 12:
            continue
        ear_x, ear_y = ear_place(head, sign)
        end = (ear_x, ear_y + (-0.18 if row < 0.6 else 0.24))
        d = _segment(at, head.place(sign * 0.8, row), end) - 0.022
        canvas.paint(at, coverage(d, at.px), tone * 0.9, "ood")


def _segment(at: Window, start: tuple[float, float], end: tuple[float, float]) -> Floats:
    """Distance to the line segment between two points."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    along = ((at.x - start[0]) * dx + (at.y - start[1]) * dy) / max(dx * dx + dy * dy, 1e-6)
    along = np.clip(along, 0, 1)
    return np.hypot(at.x - start[0] - along * dx, at.y - start[1] - along * dy)


def _carnival(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp, mask: OodObject) -> None:
    at = canvas.window
    X, Y = surface.X, surface.Y
    a = np.abs(X)
    upper = -0.42 - 0.16 * np.maximum(a - 0.35, 0) + 0.06 * np.exp(-(X * X) / 0.02)
    lower = 0.20 + 0.14 * np.exp(-(((a - 0.45) / 0.3) ** 2)) - 0.25 * np.maximum(a - 0.6, 0)
    lower = lower - 0.16 * np.exp(-(X * X) / 0.03)
    body = np.maximum(np.maximum(upper - Y, Y - lower), a - 0.93)
    holes = ellipse(a - head.eye_x, Y, 0.275, 0.19)
    d = np.maximum(np.maximum(body, -holes), surface.distance - 0.02)
    away = np.where(surface.facing < 0.02, 0.02 - surface.facing, -1.0)
    d = np.maximum(d, away)
    light = lamp.on(0.7 * surface.side, 0.3 * Y, surface.front + 0.1)
    halves = np.where(X * math.copysign(1, mask.shift_x) > 0, 1.0, 0.0)
    first, second = linear(mask.colour), linear(palette.jitter(mask.second_colour, 0.9))
    checks = np.sin(16 * (X + 0.6 * Y)) * np.sin(16 * (X - 0.6 * Y)) > 0
    share = (0.25 * checks + 0.75 * halves * (mask.seed % 2)) * fade(4, at.px)
    colour = first[:, None, None] + (second - first)[:, None, None] * share
    canvas.paint(at, coverage(d, at.px), colour * light, "ood")
    trim = np.maximum(np.minimum(np.abs(body + 0.02), np.abs(holes - 0.02)) - 0.022, d)
    gold = linear(_GOLD)[:, None, None] * light * 1.1
    canvas.paint(at, coverage(trim, at.px), gold, "ood")
