"""Beards, moustaches and stubble: hair on the lower face and below the chin."""

from __future__ import annotations

import numpy as np

from invertory.portraits import palette
from invertory.portraits.canvas import SEGMENT, Canvas, bump, clip, coverage, fade
from invertory.portraits.head import Floats, Head
from invertory.portraits.landmarks import lip_curves
from invertory.portraits.palette import linear
from invertory.portraits.shading import Lamp
from invertory.portraits.skin import Face


def draw_beard(face: Face, hair: Floats) -> None:
    """Draw all hair that grows on the skin of the lower face."""
    head, p = face.head, face.head.portrait
    if not (p.beard != "none" or p.moustache or p.stubble):
        return
    patch = face.patch(0, 0.95, 1.35, 1.0)
    if patch is None:
        return
    X, Y, px = patch.X, patch.Y, patch.at.px
    upper, _, _, lower = lip_curves(head, X)
    lips = np.maximum(np.maximum(upper - Y, Y - lower), np.abs(X) - head.mouth.half_width) - 0.02
    soft = max(px, 0.05)
    cover = np.zeros(X.shape, np.float32)
    if p.beard == "full" or p.stubble:
        edge = soft if p.beard == "full" else 0.2
        grown = clip(0.5 - np.maximum(_full(head, X, Y) + 0.5 * (edge - soft), -lips) / edge, 0, 1)
        cover = grown * (0.93 if p.beard == "full" else 0.32 * p.stubble)
    if p.beard == "goatee":
        cover = np.maximum(
            cover, 0.9 * clip(0.5 - np.maximum(_goatee(head, X, Y), -lips) / soft, 0, 1)
        )
    if p.moustache or p.beard == "full":
        cover = np.maximum(
            cover, 0.93 * clip(0.5 - np.maximum(_moustache(head, X, Y), -lips) / soft, 0, 1)
        )
    flow = np.sin(64 * X + 2.5 * np.sin(9 * Y + 2 * X)) + 0.7 * np.sin(
        97 * X * (1.3 - 0.3 * Y) + 3 * Y
    )
    grain = flow * (0.7 + 0.3 * np.sin(21 * Y + 9 * X))
    colour = hair[:, None, None] * (0.92 + 0.2 * grain * fade(11, px))
    face.tint(patch, cover, colour)
    face.labels[patch.where][cover > 0.55] = SEGMENT["hair"]
    face.gloss[patch.where] *= 1 - 0.8 * cover


def _full(head: Head, X: Floats, Y: Floats) -> Floats:
    """Distance to the area below a line from the sideburns over the cheeks to the nose."""
    a = np.abs(X)
    edge = np.interp(
        a, [0, 0.2, 0.42, 0.62, 0.8, 0.9, 1.0], [0.78, 0.74, 0.80, 0.74, 0.52, 0.15, 0.1]
    )
    bare = 0.05 - np.hypot(X / 1.6, Y - head.mouth.y - head.mouth.open_down - 0.19)
    out: Floats = np.maximum(edge.astype(np.float32) - Y, bare)
    return out


def _goatee(head: Head, X: Floats, Y: Floats) -> Floats:
    m = head.mouth
    low = (m.y + m.open_down + head.chin) / 2 + 0.1
    r = np.hypot(X / 0.30, (Y - low) / (head.chin - low + 0.06))
    out: Floats = (r - 1) * 0.26
    return out


def _moustache(head: Head, X: Floats, Y: Floats) -> Floats:
    m = head.mouth
    t = np.abs(X) / (m.half_width + 0.05)
    middle = (
        (head.nose_y + 0.075 + m.y - m.upper - m.open_up) / 2 + 0.17 * t**2.2 - m.curve * 0.4 * t
    )
    half = 0.075 * clip(1.08 - t**2.5, 0, 1)
    out: Floats = np.maximum(np.abs(Y - middle) - half, t - 1.05)
    return out


def draw_below(canvas: Canvas, head: Head, lamp: Lamp) -> None:
    """Draw the part of a full beard that extends below the chin."""
    p = head.portrait
    if p.beard != "full" or p.beard_length < 0.25:
        return
    length = 0.30 * (p.beard_length - 0.2)
    chin = head.place(0.0, head.chin - 0.1)
    at = canvas.window.crop(-1.3, 1.3, 0.5, head.chin + 0.6)
    if at is None:
        return
    w = head.width(at.y - length)
    low = clip((at.y - 0.55) / 0.6, 0, 1)
    d = np.abs(at.x - chin[0] * 0.6) - np.maximum(w, 0) * (0.9 + 0.08 * low)
    d = np.maximum(d, at.y - head.chin - length)
    q = clip((at.x - chin[0] * 0.6) / 0.9, -0.95, 0.95)
    light = lamp.on(q, 0.25 + 0 * q, np.sqrt(1 - q * q))
    colour = linear(palette.mix(p.hair_colour, palette.GREY_HAIR, 0.8 * p.hair_grey))
    strands = 0.7 + 0.3 * np.sin(41 * at.x + 3 * np.sin(5 * at.y)) * fade(6.5, at.px)
    fray = bump(at.y - head.chin - length, 0 * at.x, 0.05, 1, at.px)
    canvas.paint(
        at, coverage(d, at.px), colour[:, None, None] * light * strands * (1 - 0.3 * fray), "hair"
    )
