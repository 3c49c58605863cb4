"""Objects held in front of a face: a hand and a microphone, built from shaded bars."""

from __future__ import annotations

import math

import numpy as np

from invertory.portraits import palette
from invertory.portraits.canvas import Canvas, Window, clip, coverage, ellipse, fade
from invertory.portraits.head import Floats, Head
from invertory.portraits.ood import OodObject
from invertory.portraits.palette import linear
from invertory.portraits.shading import Lamp, Surface
from invertory.portraits.streams import uniforms

Point = tuple[float, float]
# Fingers from index to little: root across the palm, length, spread in degrees.
FINGERS = ((-0.30, 0.66, -8.0), (-0.10, 0.76, -2.0), (0.10, 0.70, 4.0), (0.29, 0.54, 11.0))


def draw_hand(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp, hand: OodObject) -> None:
    """Draw a hand from below: over the mouth (variant 0) or against a cheek (variant 1)."""
    p = head.portrait
    side = 1.0 if hand.shift_x > 0 else -1.0
    reach = 0.35 * hand.shift_x if hand.variant == 0 else 0.62 * side
    x, y = head.place(reach, 1.42 + 0.4 * hand.shift_y, out=0.1)
    turn = math.radians(hand.turn_deg * 0.6 - 14 * side)
    at = canvas.window
    u, v = _turned(at, x, y, turn, side, hand.size)  # u towards the little finger, v to the tips
    skin = linear(palette.skin(p.skin_monk, p.skin_warmth + 0.6))
    sleeve = np.maximum(np.abs(u) - 0.46, v + 0.62)
    _bar(canvas, at, sleeve, u / 0.46, lamp, linear(hand.colour), hand.size)
    arm = np.maximum(np.abs(u) - 0.27, v + 0.2)
    _bar(canvas, at, arm, u / 0.30, lamp, skin, hand.size)
    palm = ellipse(u, v + 0.02, 0.42, 0.48)
    _bar(canvas, at, palm, u / 0.7, lamp, skin, hand.size)
    even = uniforms(hand.seed, 8)
    for i, (root, length, spread) in enumerate(FINGERS):
        lean = math.radians(spread * (0.6 + 0.8 * even[i]))
        tip = (root + length * math.sin(lean), 0.28 + length * math.cos(lean))
        _finger(canvas, at, u, v, (root, 0.2), tip, lamp, skin, hand.size)
    _finger(canvas, at, u, v, (-0.30, -0.12), (-0.62, 0.30), lamp, skin, hand.size)


def _turned(
    at: Window, x: float, y: float, turn: float, side: float, size: float
) -> tuple[Floats, Floats]:
    dx, dy = (at.x - x) / size, (at.y - y) / size
    cos, sin = math.cos(turn), math.sin(turn)
    return side * (dx * cos + dy * sin), dx * sin - dy * cos


def _bar(
    canvas: Canvas, at: Window, d: Floats, q: Floats, lamp: Lamp, colour: Floats, size: float
) -> None:
    q = clip(q, -0.95, 0.95)
    light = lamp.on(q, -0.1 + 0 * q, np.sqrt(1 - q * q))
    edge = 1 - 0.4 * np.exp(np.minimum(d, 0) / 0.045)
    canvas.paint(at, coverage(d * size, at.px), colour[:, None, None] * light * edge, "ood")


def _finger(
    canvas: Canvas,
    at: Window,
    u: Floats,
    v: Floats,
    start: Point,
    end: Point,
    lamp: Lamp,
    skin: Floats,
    size: float,
) -> None:
    dx, dy = end[0] - start[0], end[1] - start[1]
    length = math.hypot(dx, dy)
    raw = ((u - start[0]) * dx + (v - start[1]) * dy) / length**2
    along = clip(raw, 0, 1)
    radius = 0.108 - 0.022 * along
    across = ((u - start[0]) * dy - (v - start[1]) * dx) / length
    d = np.hypot(u - start[0] - along * dx, v - start[1] - along * dy) - radius
    joint = (
        1
        - 0.10 * np.exp(-(((along - 0.45) / 0.03) ** 2))
        - 0.10 * np.exp(-(((along - 0.72) / 0.03) ** 2))
    )
    q = clip(across / radius, -0.95, 0.95)
    light = lamp.on(q, -0.15 + 0 * q, np.sqrt(1 - q * q))
    edge = 1 - 0.4 * np.exp(np.minimum(d, 0) / 0.035)
    cover = coverage(d * size, at.px)
    canvas.paint(at, cover, skin[:, None, None] * light * (edge * joint), "ood")
    nail = ellipse(across, (raw - 0.97) * length, 0.055, 0.075)
    pale = skin * 0.55 + 0.45 * np.array([0.80, 0.55, 0.50], np.float32)
    canvas.paint(at, coverage(nail * size, at.px) * cover * 0.7, pale, "ood")


def draw_microphone(
    canvas: Canvas, head: Head, surface: Surface, lamp: Lamp, mic: OodObject
) -> None:
    """Draw a microphone in front of mouth and chin: a grille on a shaft, or a foam ball."""
    x, y = head.place(0.25 * mic.shift_x, head.mouth.y + 0.38 + 0.25 * mic.shift_y, out=0.2)
    at = canvas.window
    turn = math.radians(0.8 * mic.turn_deg)
    u, v = _turned(at, x, y, turn, 1.0, mic.size)
    black = linear((0.10, 0.10, 0.11))
    half = 0.15 - 0.05 * clip(-v - 0.2, 0, 1)
    _bar(canvas, at, np.maximum(np.abs(u) - half, v), u / 0.17, lamp, black, mic.size)
    r = np.hypot(u, v * (0.88 if mic.variant == 0 else 0.95))
    q, w = clip(u / 0.34, -0.95, 0.95), clip(-v / 0.34, -0.95, 0.95)
    light = lamp.on(q, w, np.sqrt(np.maximum(1 - q * q - w * w, 0.05)))
    if mic.variant == 0:
        mesh = np.maximum(np.sin(44 * (u + v)), np.sin(44 * (u - v)))
        tone, texture = linear((0.72, 0.72, 0.74)), 0.72 + 0.4 * mesh * fade(10, at.px)
    else:
        foam = np.sin(57 * u + 3 * np.sin(41 * v)) * np.sin(61 * v + 3 * np.sin(37 * u))
        tone, texture = linear(mic.colour), 0.9 + 0.25 * foam * fade(14, at.px)
    ball = coverage((r - 0.31) * mic.size, at.px)
    canvas.paint(at, ball, tone[:, None, None] * light * texture, "ood")
    ring = np.maximum(np.abs(v + 0.27) - 0.05, np.abs(u) - 0.20)
    _bar(canvas, at, ring, u / 0.22, lamp, linear(mic.second_colour), mic.size)
