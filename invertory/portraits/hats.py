"""Hats: a beanie, a wide-brimmed hat, a cap with a visor, a fedora."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from invertory.portraits.canvas import Canvas, Window, clip, coverage, ellipse, fade
from invertory.portraits.hair import CUTS
from invertory.portraits.head import Floats, Head
from invertory.portraits.ood import OodObject
from invertory.portraits.palette import linear
from invertory.portraits.shading import Lamp, Surface
from invertory.portraits.visibility import has_bangs


@dataclass(frozen=True, slots=True)
class Fit:
    """The fit of a hat: centre of its edge, half width there, and row of the top."""

    x: float
    edge: float
    half: float
    top: float
    sway: float  # direction of its front, -1 to 1


def draw_hat(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp, hat: OodObject) -> None:
    """Draw a hat over forehead and hair; it hides a fringe."""
    fit = _fit(head, hat)
    draw = (_beanie, _wide_brim, _cap, _fedora)[hat.variant]
    draw(canvas, fit, lamp, hat)


def _fit(head: Head, hat: OodObject) -> Fit:
    p = head.portrait
    cut = CUTS[p.hair_style]
    volume = 0.0 if p.bald else 1 + 0.16 * p.hair_volume
    row = -0.36 if has_bangs(p) and not p.bald else -0.50
    x, edge = head.place(0.0, row)
    return Fit(
        x=0.30 * x - 0.06 * math.sin(head.yaw),
        edge=edge + 0.05,
        half=max(1.0 + cut.side * volume, 1.02) + 0.06,
        top=head.top - cut.top * volume - 0.06 - 0.10 * hat.size,
        sway=math.sin(head.yaw),
    )


def _crown(
    fit: Fit, at: Window, power: float, bulge: float, edge: Floats
) -> tuple[Floats, Floats, Floats]:
    """A dome above the edge: distance, position across (-1 to 1), height (0 at the edge to 1)."""
    rise = clip((fit.edge - at.y) / (fit.edge - fit.top), -0.5, 1.0)
    up = np.maximum(rise, 0)
    w = (fit.half + bulge * np.sin(math.pi * up)) * (1 - up**power) ** (1 / power)
    off = at.x - fit.x
    slope = np.minimum(0.7 + 3 * up**4, 3.5)
    d = np.maximum((np.abs(off) - w) / np.sqrt(1 + slope * slope) * 1.2, fit.top - at.y)
    return np.maximum(d, at.y - edge), clip(off / np.maximum(w, 0.25), -0.98, 0.98), up + 0 * off


def _edge(fit: Fit, at: Window, sag: float) -> Floats:
    """Row of the hat's lower edge, which hangs lower at the sides."""
    return fit.edge + sag * ((at.x - fit.x) / fit.half) ** 2


def _lit(lamp: Lamp, q: Floats, up: Floats, colour: Floats) -> Floats:
    nz = np.sqrt(1 - q * q)
    ny = -0.9 * up**1.5
    length = 1 / np.sqrt(q * q + nz * nz + ny * ny)
    return colour[:, None, None] * lamp.on(q * length, ny * length, nz * length)


def _beanie(canvas: Canvas, fit: Fit, lamp: Lamp, hat: OodObject) -> None:
    at = canvas.window
    edge = _edge(fit, at, 0.05)
    d, q, up = _crown(fit, at, 2.3, 0.06, edge)
    turned = np.arcsin(q) - 0.6 * fit.sway
    ribs = 1 + 0.22 * np.sin(30 * turned) * fade(30 / 6.3 / fit.half, at.px)
    canvas.paint(at, coverage(d, at.px), _lit(lamp, q, up, linear(hat.colour)) * ribs, "ood")
    fold = np.maximum(np.abs(at.y - edge + 0.15) - 0.17, np.abs(at.x - fit.x) - fit.half - 0.03)
    ribs = 1 + 0.3 * np.sin(30 * turned) * fade(30 / 6.3 / fit.half, at.px)
    light = _lit(lamp, q, 0.1 * up, linear(hat.second_colour)) * ribs
    canvas.paint(at, coverage(fold, at.px), light, "ood")


def _brim(canvas: Canvas, fit: Fit, lamp: Lamp, hat: OodObject, reach: float, flat: float) -> None:
    at = canvas.window
    ex = (at.x - fit.x - 0.15 * fit.sway) / (fit.half + reach)
    ey = (at.y - fit.edge + 0.10 - 0.10 * ex * ex) / flat
    d = ellipse(ex * (fit.half + reach), ey * flat, fit.half + reach, flat)
    light = linear(hat.colour)[:, None, None] * lamp.on(0.3 * ex, -0.6 + 0 * ex, 0.7 + 0 * ex)
    shade = 0.95 - 0.35 * clip(ey, -1, 1)
    canvas.paint(at, coverage(d, at.px), light * shade, "ood")


def _wide_brim(canvas: Canvas, fit: Fit, lamp: Lamp, hat: OodObject) -> None:
    at = canvas.window
    d, q, up = _crown(fit, at, 3.0, 0.02, _edge(fit, at, 0.0))
    weave = 1 + 0.10 * np.sin(60 * up) * np.sin(40 * q) * fade(9, at.px)
    canvas.paint(at, coverage(d, at.px), _lit(lamp, q, up, linear(hat.colour)) * weave, "ood")
    _band(canvas, fit, lamp, hat, d, q, up)
    _brim(canvas, fit, lamp, hat, 0.62 * hat.size, 0.24)


def _fedora(canvas: Canvas, fit: Fit, lamp: Lamp, hat: OodObject) -> None:
    at = canvas.window
    d, q, up = _crown(fit, at, 4.0, -0.06, _edge(fit, at, 0.0))
    dent = fit.top + 0.10 * np.exp(-((q - 0.1 * fit.sway) ** 2) / 0.06)
    d = np.maximum(d, dent - at.y)
    canvas.paint(at, coverage(d, at.px), _lit(lamp, q, up, linear(hat.colour)), "ood")
    _band(canvas, fit, lamp, hat, d, q, up)
    _brim(canvas, fit, lamp, hat, 0.34 * hat.size, 0.17)


def _band(
    canvas: Canvas, fit: Fit, lamp: Lamp, hat: OodObject, crown: Floats, q: Floats, up: Floats
) -> None:
    at = canvas.window
    strip = np.abs(at.y - fit.edge + 0.27) - 0.11
    light = _lit(lamp, q, 0.2 * up, linear(hat.second_colour))
    canvas.paint(at, coverage(np.maximum(strip, crown), at.px), light, "ood")


def _cap(canvas: Canvas, fit: Fit, lamp: Lamp, hat: OodObject) -> None:
    at = canvas.window
    edge = _edge(fit, at, 0.04)
    d, q, up = _crown(fit, at, 2.4, 0.02, edge)
    turned = np.arcsin(q) - 0.9 * fit.sway
    seams = 1 - 0.35 * np.exp(-((np.sin(1.5 * turned) / 0.06) ** 2))
    canvas.paint(at, coverage(d, at.px), _lit(lamp, q, up, linear(hat.colour)) * seams, "ood")
    badge = np.hypot((turned / 0.22), (up - 0.42) / 0.16) - 1
    light = _lit(lamp, q, up, linear(hat.second_colour))
    canvas.paint(at, coverage(np.maximum(0.15 * badge, d), at.px), light, "ood")
    wide, deep = 0.86 * fit.half, 0.26 * hat.size
    ex = (at.x - fit.x - 0.42 * fit.sway) / wide
    ey = (at.y - fit.edge + 0.10 - 0.14 * ex * ex) / deep
    visor = np.maximum(
        ellipse(ex * wide, ey * deep, wide, deep), fit.edge - 0.20 + 0.10 * ex * ex - at.y
    )
    shade = linear(hat.second_colour)[:, None, None] * lamp.on(
        0.2 * ex, -0.5 + 0 * ex, 0.8 + 0 * ex
    )
    canvas.paint(at, coverage(visor, at.px), shade * (0.9 - 0.3 * clip(ey, 0, 1)), "ood")
