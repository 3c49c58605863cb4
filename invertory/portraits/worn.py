"""Glasses, sunglasses and earrings."""

from __future__ import annotations

import math

import numpy as np

from invertory.portraits.backdrop import ear_place
from invertory.portraits.canvas import Canvas, Window, clip, coverage
from invertory.portraits.head import Floats, Head
from invertory.portraits.palette import linear

Place = tuple[float, float]


def draw_glasses(canvas: Canvas, head: Head) -> None:
    """Draw a rigid frame in front of the eyes that turns with the head; sunglasses are dark."""
    p = head.portrait
    if not (p.glasses or p.sunglasses):
        return
    middle = head.place(0.0, 0.03, out=0.16)
    eyes = [head.place(sign * head.eye_x, 0.02, out=0.08) for sign in (-1, 1)]
    at = canvas.window.crop(-1.5, 1.5, middle[1] - 0.6, middle[1] + 0.6)
    if at is None:
        return
    lenses = [_lens(head, at, eye, sign) for eye, sign in zip(eyes, (-1, 1), strict=True)]
    d = np.minimum(lenses[0], lenses[1])
    _glass(canvas, head, at, d)
    half = (0.024 + 0.004 * p.frame_width) * (1.25 if p.lens == "square" else 0.9)
    frame = np.minimum(np.abs(d) - half, _bridge(at, middle, eyes, half))
    frame = np.minimum(frame, _temples(head, at, eyes, half))
    cover = coverage(frame, at.px)
    gleam = 1 + 0.8 * np.exp(-(((at.y - middle[1] + 0.22) / 0.05) ** 2))
    colour = linear(p.frame_colour)[:, None, None] * gleam
    canvas.paint(at, cover, np.minimum(colour + 0.004, 1), "accessory")


def _lens(head: Head, at: Window, eye: Place, sign: int) -> Floats:
    p = head.portrait
    scale = 1.12 if p.sunglasses else 1.0
    rx, ry = {"round": (0.285, 0.265), "square": (0.315, 0.225), "aviator": (0.315, 0.265)}[p.lens]
    # the far lens is foreshortened
    rx *= scale * max(math.cos(head.yaw) - 0.35 * sign * math.sin(head.yaw), 0.35)
    ry *= scale
    x, y = (at.x - eye[0]) / rx, (at.y - eye[1] - 0.02) / ry
    if p.lens == "aviator":
        y = y - 0.08 - 0.10 * x * sign
        x = x * (1 + 0.14 * clip(y, -1, 1))
    power = 2.2 if p.lens == "round" else 4.5 if p.lens == "square" else 2.8
    radius = (np.abs(x) ** power + np.abs(y) ** power) ** (1 / power)
    out: Floats = ((radius - 1) * min(rx, ry)).astype(np.float32)
    return out


def _glass(canvas: Canvas, head: Head, at: Window, d: Floats) -> None:
    p = head.portrait
    cover = coverage(d, at.px)
    glare = np.exp(-((((at.x + at.y * 1.1 - 0.15) % 0.94) - 0.2) ** 2) / 0.004)
    if p.sunglasses:
        rows = clip((at.y + 0.3) / 0.7, 0, 1)
        tint = linear(p.lens_tint)[:, None, None] * (1 + 2.2 * rows) + 0.05 * glare
        canvas.paint(at, cover * 0.93, tint, "accessory")
    else:
        canvas.paint(at, cover * (0.05 + 0.14 * glare), np.full(3, 0.9, np.float32))


def _bridge(at: Window, middle: Place, eyes: list[Place], half: float) -> Floats:
    left, right = eyes[0][0] + 0.2, eyes[1][0] - 0.2
    span = max((right - left) / 2, 0.03)
    t = (at.x - (left + right) / 2) / span
    arch = middle[1] - 0.06 + 0.05 * t * t
    out: Floats = np.maximum(np.abs(at.y - arch) - half, (np.abs(t) - 1) * span)
    return out


def _temples(head: Head, at: Window, eyes: list[Place], half: float) -> Floats:
    total = np.full((at.y.shape[0], at.x.shape[1]), 9.0, np.float32)
    for sign, eye in zip((-1, 1), eyes, strict=True):
        ear, _ = ear_place(head, sign)
        start = eye[0] + sign * 0.28 * max(math.cos(head.yaw), 0.5)
        if (ear - start) * sign <= 0.02:
            continue
        t = (at.x - start) / (ear - start)
        row = eye[1] - 0.08 + 0.0 * t
        bar = np.maximum(np.abs(at.y - row) - half * 0.9, np.maximum(-t, t - 1) * abs(ear - start))
        total = np.minimum(total, bar)
    return total


def draw_earrings(canvas: Canvas, head: Head) -> None:
    """Draw studs, hoops or drops below the lobes of the visible ears."""
    p = head.portrait
    if not p.attributes["earrings"]:
        return
    for sign in (-1, 1):
        cx, cy = ear_place(head, sign)
        if sign * p.yaw_deg > 12:  # the ear is behind the head
            continue
        x, y = cx - 0.02 * sign, cy + 0.30
        at = canvas.window.crop(x - 0.3, x + 0.3, y - 0.2, y + 0.6)
        if at is None:
            continue
        d = _earring(at, x, y, p.earring)
        sparkle = 0.75 + 0.6 * np.exp(-((at.x - x + 0.03) ** 2 + (at.y - y) ** 2) / 0.006)
        colour = np.minimum(linear(p.earring_colour)[:, None, None] * sparkle, 1)
        canvas.paint(at, coverage(d, at.px), colour, "accessory")


def _earring(at: Window, x: float, y: float, kind: str) -> Floats:
    stud: Floats = np.hypot(at.x - x, at.y - y) - 0.075
    if kind == "stud":
        return stud
    if kind == "hoop":
        hoop: Floats = np.abs(np.hypot(at.x - x, at.y - y - 0.15) - 0.15) - 0.034
        return hoop
    drop = np.hypot((at.x - x) / 0.75, (at.y - y - 0.22) / 1.35) - 0.10
    both: Floats = np.minimum(stud + 0.035, drop)
    return both
