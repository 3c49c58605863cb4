"""Everything behind and below the head: background, neck, ears, clothes."""

from __future__ import annotations

import math

import numpy as np

from invertory.portraits import palette
from invertory.portraits.canvas import Canvas, Window, clip, coverage
from invertory.portraits.head import Floats, Head
from invertory.portraits.palette import linear
from invertory.portraits.shading import Lamp, Surface
from invertory.portraits.streams import uniforms


def draw_background(canvas: Canvas, head: Head) -> None:
    """Draw a soft gradient with two wide patches of light; busy backgrounds are drawn over it."""
    p, at = head.portrait, canvas.window
    size = at.shape[0] * at.px
    u, v = (at.x - at.x[0, 0]) / size, (at.y - at.y[0, 0]) / size
    even = uniforms(p.background_seed, 12)
    near, far = linear(p.background[0]), linear(p.background[1])
    angle = 2 * math.pi * even[0]
    blend = 0.5 + 0.7 * (math.cos(angle) * (u - 0.5) + math.sin(angle) * (v - 0.5))
    for x, y, depth in ((even[1], even[2], 0.5), (even[3], even[4], -0.4)):
        blend = blend + depth * np.exp(-(((u - x) ** 2 + (v - y) ** 2) / (0.1 + 0.15 * even[5])))
    blend = clip(blend, 0, 1).astype(np.float32)
    canvas.light[:] = near[:, None, None] + (far - near)[:, None, None] * blend


def draw_body(canvas: Canvas, head: Head, lamp: Lamp) -> None:
    """Draw the neck with the chin's shadow, then shoulders with a collar."""
    p = head.portrait
    at = canvas.window.crop(-9, 9, 0.3, 9)
    if at is None:
        return
    lean = 0.35 * math.sin(head.yaw)
    neck = 0.54 + 0.02 * p.neck_width + 0.10 * p.male
    off = at.x - lean * 0.4
    flare = clip((at.y - 1.45) / 0.6, 0, 2) ** 2
    w = neck + 0.25 * flare
    q = clip(off / w, -0.98, 0.98)
    skin = linear(palette.skin(p.skin_monk, p.skin_warmth))
    light = lamp.on(q, 0.25 + 0 * q, np.sqrt(1 - q * q) * 0.95)
    below = np.hypot(
        np.maximum(np.abs(at.x - lean * 0.5) - 0.4, 0), np.maximum(at.y - head.chin, 0)
    )
    shade = 1 - 0.62 * np.exp(-below / 0.16)
    muscle = 1 - 0.10 * np.exp(-(((np.abs(off) - 0.25 - 0.1 * (2 - at.y)) / 0.07) ** 2))
    canvas.paint(
        at,
        coverage(np.abs(off) - w, at.px),
        skin[:, None, None] * light * shade * muscle * 0.92,
        "skin",
    )
    _shirt(canvas, head, lamp, lean)


def _shirt(canvas: Canvas, head: Head, lamp: Lamp, lean: float) -> None:
    p = head.portrait
    at = canvas.window.crop(-9, 9, 0.9, 9)
    if at is None:
        return
    off = np.sqrt((at.x - lean * 0.3) ** 2 + 1e-4)
    broad = 2.0 + 0.25 * p.male
    t = clip((off - 0.55) / (broad - 0.55), 0, 1.2)
    shoulder = 1.46 + 0.60 * t**2 / (t + 0.18) * 1.1 - 0.04 * p.male
    hollow = {0: 1.86, 1: 2.1, 2: 1.80, 3: 1.50}[p.collar]
    if p.collar == 1:
        neckline = hollow - (hollow - 1.5) * clip(off / 0.58, 0, 1)
    else:
        neckline = hollow - (hollow - 1.5) * clip(off / 0.62, 0, 1) ** 3
    d = np.maximum(shoulder - at.y, neckline - at.y)
    nx = clip((at.x - lean * 0.3) / 2.2, -0.9, 0.9)
    light = lamp.on(nx, -0.45 * t, np.sqrt(1 - nx * nx) * 0.85)
    folds = (
        1 + 0.06 * np.sin(5 * at.x + 6 * at.y + p.seed % 7) + 0.04 * np.sin(11 * at.x - 3 * at.y)
    )
    shadow = 1 - 0.35 * np.exp(-np.maximum(at.y - neckline, 0) / 0.12)
    cloth = linear(p.shirt_colour)[:, None, None] * light * folds * shadow
    canvas.paint(at, coverage(d, at.px), cloth, "clothes")
    edge = np.abs(at.y - neckline - 0.05) - 0.012
    canvas.paint(at, coverage(np.maximum(edge, d), at.px) * 0.5, linear(p.shirt_colour) * 0.3)
    if p.collar == 2:
        _lapels(canvas, head, at, off, light)


def _lapels(canvas: Canvas, head: Head, at: Window, off: Floats, light: Floats) -> None:
    d = np.maximum(np.abs(off - 0.42) - 0.2, np.abs(at.y - 1.46 - 0.75 * (0.62 - off)) - 0.10)
    tone = linear(palette.jitter(head.portrait.shirt_colour, 1.12))
    canvas.paint(at, coverage(d, at.px), tone[:, None, None] * light, "clothes")


def draw_ears(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp) -> None:
    """Draw both ears beside the head; the far one disappears behind it."""
    p = head.portrait
    skin = linear(palette.skin(p.skin_monk, p.skin_warmth + 1.0))
    for sign in (-1, 1):
        cx, cy = ear_place(head, sign)
        at = canvas.window.crop(cx - 0.25, cx + 0.25, cy - 0.4, cy + 0.4)
        if at is None:
            continue
        size = 1 + 0.06 * p.ear_size + 0.06 * head.old
        ex = (at.x - cx - 0.05 * sign * (at.y - cy) * -1) / (0.135 * size)
        ey = (at.y - cy) / (0.285 * size)
        r = np.hypot(ex, ey * (1 - 0.12 * ey))
        inner = np.exp(-(((ex * 1.3 + 0.25 * sign) ** 2 + (ey * 1.1 + 0.1) ** 2) / 0.28))
        rim = 1 - 0.5 * inner - 0.15 * np.exp(-(((r - 0.72) / 0.12) ** 2))
        nx = clip(0.45 * sign + 0.4 * ex, -0.95, 0.95)
        light = lamp.on(nx, 0.2 * ey, np.sqrt(1 - nx * nx))
        glow = np.array([1.0, 0.93, 0.90], np.float32)[:, None, None]
        where = at.within(canvas.window)
        behind = clip(0.5 + (0.17 - surface.facing[where]) / at.px, 0, 1)
        behind *= np.sign(surface.side[where]) == sign
        beside = 1 - coverage(surface.distance[where], at.px)
        cover = coverage((r - 1) * 0.15, at.px) * np.maximum(behind, beside)
        canvas.paint(at, cover, skin[:, None, None] * glow * light * rim, "skin")


def ear_place(head: Head, sign: int) -> tuple[float, float]:
    """Centre of the ear at the left (-1) or right (1) as seen, in image coordinates."""
    angle = sign * math.radians(88) + head.yaw
    reach = float(head.width(0.15)) + 0.045
    return reach * math.sin(angle), 0.17 + 0.0 * head.pitch
