"""Lips and mouth, brows and eyes, painted on the face before shading."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from invertory.portraits import palette
from invertory.portraits.canvas import SEGMENT, bump, clip, coverage, fade
from invertory.portraits.head import Floats
from invertory.portraits.landmarks import BROW_HALF, brow_line, lid_curves, lip_curves
from invertory.portraits.palette import linear
from invertory.portraits.shading import Patch
from invertory.portraits.skin import Face

_LIP: Final = (0.62, 0.24, 0.22)


def draw_lips(face: Face) -> None:
    """Draw the lips, and between them teeth and the dark interior of the mouth."""
    head, p, m = face.head, face.head.portrait, face.head.mouth
    patch = face.patch(0, m.y, m.half_width + 0.16, 0.42)
    if patch is None:
        return
    px, visible = patch.at.px, patch.visible
    upper, in_up, in_down, lower = lip_curves(head, patch.X)
    beyond = np.abs(patch.X) - m.half_width
    Y = patch.Y
    lips = coverage(np.maximum(np.maximum(upper - Y, Y - lower), beyond), px)
    tone = palette.skin(p.skin_monk, p.skin_warmth)
    natural = palette.mix(tone, _LIP, 0.46 + 0.06 * p.lip_redness - 0.06 * p.male)
    dark = 0.86 if p.skin_monk < 7 else 0.78
    colour = palette.mix(palette.jitter(natural, dark), p.lipstick, 0.85 if p.makeup else 0.0)
    face.tint(patch, lips * (0.9 if p.makeup else 0.8) * visible, linear(colour))
    face.labels[patch.where][lips * visible > 0.5] = SEGMENT["mouth"]
    face.darken(patch, lips * coverage(Y - in_up, px) * 0.45, (0.6, 0.5, 0.5))
    face.gloss[patch.where] += lips * (0.16 if p.makeup else 0.07)
    _inside(face, patch, in_up, in_down, beyond)


def _inside(face: Face, patch: Patch, in_up: Floats, in_down: Floats, beyond: Floats) -> None:
    m, px, Y = face.head.mouth, patch.at.px, patch.Y
    mouth = coverage(np.maximum(np.maximum(in_up - Y, Y - in_down), beyond), px)
    gap = m.open_up + m.open_down
    if gap < 0.01:
        line = bump(Y - in_up, 0 * Y, 0.016, 1, px) * coverage(beyond - 0.01, px)
        face.darken(patch, 0.85 * line * patch.visible, (0.3, 0.15, 0.14))
        return
    hole = mouth * patch.visible
    face.tint(patch, hole, linear((0.30, 0.08, 0.08)), "mouth")
    tongue = bump(patch.X, Y - m.y - m.open_down, m.half_width * 0.5, 0.05, px)
    face.tint(patch, hole * tongue * 0.7, linear((0.62, 0.28, 0.28)))
    edge = in_up + 0.02 + min(0.5 * gap, 0.075) * clip(1.2 - (patch.X / m.half_width) ** 2, 0, 1)
    teeth = hole * coverage(np.maximum(Y - edge, in_up + 0.012 - Y), px)
    rounded = 0.92 - 0.35 * (patch.X / m.half_width) ** 2
    face.tint(patch, teeth * clip(rounded, 0, 1), linear((0.93, 0.90, 0.85)))


def draw_brows(face: Face, hair: Floats) -> None:
    """Draw brows of short hairs, thicker at the inner end, in the hair's colour."""
    head, p = face.head, face.head.portrait
    strength = 0.92 - 0.25 * p.hair_grey - 0.1 * p.is_blond
    for sign in (-1, 1):
        patch = face.patch(sign * head.eye_x, head.brow_y, 0.42, 0.26)
        if patch is None:
            continue
        t = clip((patch.X * sign - head.eye_x * 1.02) / BROW_HALF, -1.3, 1.3)
        taper = (
            head.brow_half * (1.02 - 0.42 * clip(t, -1, 1)) * clip(1.35 - t * t * 0.95, 0, 1) ** 0.5
        )
        off = np.abs(patch.Y - brow_line(head, t)) - taper
        d = np.maximum(off, (np.abs(t) - 1) * BROW_HALF)
        fray = 1 + 0.14 * np.sin(t * 47 + patch.Y * 90) * fade(28, patch.at.px)
        soft = clip(0.5 - d / max(patch.at.px, 0.03), 0, 1)
        face.tint(patch, clip(soft * strength * fray, 0, 1) * patch.visible, hair)


def draw_eyes(face: Face) -> Floats:
    """Draw the eyes with their lids; return the specular intensity of each pixel [h, w]."""
    sparkle = np.zeros(face.gloss.shape, np.float32)
    for sign in (-1, 1):
        patch = face.patch(sign * face.head.eye_x, 0.0, 0.40, 0.34)
        if patch is not None:
            _eye(face, patch, sign, sparkle)
    return sparkle


def _eye(face: Face, patch: Patch, sign: int, sparkle: Floats) -> None:
    head, p, px = face.head, face.head.portrait, patch.at.px
    x = patch.X * sign - head.eye_x  # positive towards the ear
    y = patch.Y
    t = x / head.eye_half
    upper, lower = lid_curves(head, clip(t, -1, 1))
    edge = (np.abs(t) - 1) * head.eye_half
    d = np.maximum(np.maximum(upper - y, y - lower), edge)
    visible = patch.visible
    open_ = coverage(d, px) * visible
    if p.makeup:
        _eyeshadow(face, patch, t, y - upper)
    _crease(face, patch, t, y - upper)
    white = clip(1.0 - 0.35 * t * t, 0, 1) * clip(0.55 + (y - upper) / 0.11, 0.5, 1)
    face.tint(patch, open_, linear((0.93, 0.91, 0.89))[:, None, None] * white)
    face.labels[patch.where][open_ > 0.5] = SEGMENT["eyes"]
    _iris(face, patch, sign, open_, white, sparkle)
    lash = 0.026 + 0.016 * p.makeup
    reach = clip(1.35 - t * t, 0, 1) ** 0.5
    line = np.abs(y - upper + 0.35 * lash) - lash * (0.75 + 0.25 * t) * reach * 0.72
    dark = coverage(np.maximum(line, (np.abs(t) - 1.06 - 0.08 * p.makeup) * head.eye_half), px)
    ink = linear((0.09, 0.06, 0.055) if p.makeup or p.skin_monk > 5 else (0.17, 0.11, 0.09))
    face.tint(patch, dark * visible * (0.95 if p.makeup else 0.85), ink)
    rim = bump(y - lower, 0 * y, 0.012 + 0.004 * p.makeup, 1, px) * coverage(edge, px)
    face.darken(patch, (0.45 + 0.3 * p.makeup) * rim * visible, (0.4, 0.25, 0.22))
    face.gloss[patch.where] *= 1 - open_


def _iris(
    face: Face, patch: Patch, sign: int, open_: Floats, white: Floats, sparkle: Floats
) -> None:
    head, p, px = face.head, face.head.portrait, patch.at.px
    radius = 0.112
    free = head.eye_half - radius
    cx = head.eye_x * sign + 0.35 * p.gaze_x * free
    cy = -0.028 + 0.03 * p.gaze_y - 0.25 * (head.eye_up - 0.12)
    r = np.hypot(patch.X - cx, patch.Y - cy)
    disc = coverage(r - radius, px) * open_
    colour = linear(p.iris_colour)[:, None, None] * (0.75 + 0.75 * clip(r / radius, 0, 1) ** 2)
    ring = 1 - 0.65 * clip((r - 0.78 * radius) / (0.22 * radius), 0, 1)
    face.tint(patch, disc, colour * ring * white)
    face.tint(patch, coverage(r - 0.43 * radius, px) * open_, linear((0.03, 0.025, 0.025)))
    lx = 0.04 * math.sin(math.radians(p.light_deg)) + 0.016
    spot = np.hypot(patch.X - cx - lx, patch.Y - cy + 0.045) - 0.027
    sparkle[patch.where] += coverage(spot, px) * open_ * 0.85


def _crease(face: Face, patch: Patch, t: Floats, above: Floats) -> None:
    """Darken the fold of the upper lid, and the lid's own shadow."""
    head, p, px = face.head, face.head.portrait, patch.at.px
    reach = clip(1.25 - t * t, 0, 1)
    gap = 0.045 + 0.05 * p.lid_crease - 0.02 * head.old
    fold = bump(above + gap, 0 * t, 0.017, 1, px) * reach
    face.darken(patch, (0.35 + 0.25 * p.lid_crease) * fold, (0.45, 0.3, 0.25))
    lid = clip(1 + above / 0.16, 0, 1) * clip(-above / 0.03, 0, 1) * reach
    face.darken(patch, 0.18 * lid, (0.5, 0.3, 0.25))


def _eyeshadow(face: Face, patch: Patch, t: Floats, above: Floats) -> None:
    reach = clip(1.5 - (t - 0.1) ** 2, 0, 1)
    cover = clip(-above / 0.02, 0, 1) * clip(1 + above / 0.2, 0, 1) * reach
    p = face.head.portrait
    tone = palette.mix(p.eyeshadow, palette.skin(p.skin_monk, 0), 0.25)
    face.tint(patch, 0.75 * cover, linear(palette.jitter(tone, 0.9 - 0.02 * p.skin_monk)))
