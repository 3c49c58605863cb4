"""Hair: an outline around the head, an opening for the face, and strands along the outline.

A style is a set of numbers (`Cut`). The part behind the neck is drawn before the head, the rest
after it; the shadow on the forehead follows from the distance to the opening's edge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from invertory.portraits import palette
from invertory.portraits.canvas import Canvas, Window, clip, coverage, fade
from invertory.portraits.head import WIDEST, Floats, Head
from invertory.portraits.palette import linear
from invertory.portraits.shading import Lamp, Surface
from invertory.portraits.streams import uniforms
from invertory.portraits.visibility import has_bangs, hides_ears


@dataclass(frozen=True, slots=True)
class Cut:
    """A style in hu: volume above and beside the head, the row where it ends, and its curl."""

    top: float
    side: float
    ends: float
    curl: float = 0.0
    flare: float = 0.0  # added width at the row where it ends


CUTS: Final = {
    "buzz": Cut(0.05, 0.02, 0.10),
    "short": Cut(0.20, 0.07, 0.16),
    "receding": Cut(0.10, 0.05, 0.18),
    "curly": Cut(0.30, 0.22, 0.95, curl=0.6, flare=0.06),
    "afro": Cut(0.46, 0.44, 0.62, curl=1.0),
    "bob": Cut(0.21, 0.17, 1.22, flare=0.10),
    "long": Cut(0.20, 0.15, 3.0, flare=0.16),
    "bun": Cut(0.09, 0.04, 0.10),
    "ponytail": Cut(0.10, 0.045, 0.12),
}


class Hair:
    """A portrait's hair over a window of the image."""

    def __init__(self, head: Head, surface: Surface) -> None:
        p = head.portrait
        self.head, self.portrait, self.surface = head, p, surface
        self.cut = CUTS[p.hair_style]
        volume = 1 + 0.16 * p.hair_volume
        self.top = head.top - self.cut.top * volume
        self.widest = 1.0 + self.cut.side * volume
        self.ends = self.cut.ends + (0.06 if self.cut.ends < 0.5 else 0.12) * p.hair_length
        self.phases = (2 * math.pi * uniforms(p.texture_seed, 12)).astype(np.float32)
        self.behind_ears = not hides_ears(p)
        self.opening = self._opening()

    def _profile(self, y: Floats) -> tuple[Floats, Floats]:
        """Half width of the outline at row y, and its slope."""
        table = np.linspace(self.top, 2.3, 160)
        crown = clip((WIDEST - table) / (WIDEST - self.top), 0, 1)
        below = clip((table - WIDEST) / (max(self.ends, 0.3) - WIDEST), 0, 1)
        wide = self.widest * (1 - crown**2.4) ** (1 / 2.3)
        if self.cut.curl:
            wide *= (1 - below**2.6) ** (1 / 2.6)
            wide += self.cut.flare * np.sin(math.pi * below)
        elif self.cut.ends < 0.5:
            wide -= 0.10 * below**2
        else:
            far = clip((table - WIDEST) / 1.8, 0, 1)
            wide += self.cut.flare * np.sin(0.5 * math.pi * far)
            if self.cut.ends < 2:
                wide -= 0.22 * clip((below - 0.6) / 0.4, 0, 1) ** 2
        slope = np.gradient(wide, table)
        w = np.interp(y, table, wide) + 4 * np.minimum(y - self.top, 0)
        return w.astype(np.float32), clip(np.interp(y, table, slope), -4, 4).astype(np.float32)

    def _outline(self, at: Window) -> tuple[Floats, Floats, Floats, Floats]:
        """Distance to the outline, position across it (-1 to 1), its width and slope."""
        p, ph = self.portrait, self.phases
        w, slope = self._profile(at.y)
        centre = -0.10 * math.sin(self.head.yaw)
        w = w + 0.05 * abs(math.sin(self.head.yaw))
        if self.cut.ends > 0.5 and not self.cut.curl:
            low = clip((at.y + 0.4) / 1.2, 0, 1)
            centre = centre + 0.05 * p.hair_wave * low * np.sin(4.2 * at.y + ph[0])
            w = w + 0.035 * p.hair_wave * low * np.sin(5.1 * at.y + ph[1])
        off = at.x - centre
        d = (np.abs(off) - w) / np.sqrt(1 + slope * slope)
        if self.cut.curl:
            angle = np.arctan2(off, -(at.y - 0.1))
            lobes = np.sin(11 * angle + ph[2] + 1.2 * np.sin(5 * angle + ph[3]))
            d = d - 0.045 * self.cut.curl**0.3 * (1.5 - self.cut.curl) * lobes
            d = d - 0.018 * np.sin(29 * angle + ph[4])
        return d, off / np.maximum(w, 0.2), w, slope

    def _opening(self) -> Floats:
        """Distance to the edge of the face's opening, positive on bare skin, over the surface."""
        p, s = self.portrait, self.surface
        w = np.maximum(s.front * 0 + self.head.width(s.at.y), 0)
        folded = np.abs(s.X)
        unfolded = np.where(s.facing < 0, 2 * w - folded, folded)
        off = np.abs(s.at.x - self.head.centre(np.maximum(w[:, :1], 1e-3)))
        lateral = unfolded + np.maximum(off - w, 0)
        line = self._hairline(s.X)
        side = 0.86 if self.behind_ears else 0.80 - 0.05 * clip(s.Y, 0, 1)
        if p.hair_style == "buzz":
            side = 0.9
        if self.cut.curl:
            curls = np.sin(8.5 * s.Y + self.phases[9]) + 0.5 * np.sin(19 * s.Y + self.phases[10])
            side = side + 0.03 + 0.032 * curls - 0.10 * np.maximum(s.Y - 0.2, 0)
        free = _round_min(s.Y - line, side - lateral, 0.30)
        if self.behind_ears:  # sideburns end; tight hair leaves cheeks and ears bare
            ends = min(self.ends, 0.22) if self.cut.ends < 0.5 else 0.05
            free = -_round_min(-free, ends + 0.02 * np.sin(31 * s.X + self.phases[5]) - s.Y, 0.12)
        return free.astype(np.float32)

    def _hairline(self, X: Floats) -> Floats:
        """Row of the hairline on the forehead at face column X."""
        p, ph, px = self.portrait, self.phases, self.surface.at.px
        t = clip(X / 0.92, -1, 1)
        jag = 0.020 * np.sin(37 * X + ph[6]) * fade(5.9, px)
        jag = jag + 0.016 * np.sin(61 * X + ph[7]) * fade(9.7, px)
        high = self.head.top + 0.44 - 0.05 * p.hairline
        line: Floats = high + 0.55 * t**4
        if has_bangs(p):
            line = -0.43 + 0.05 * p.hair_part_x + 0.10 * t * t + 1.2 * jag
        elif p.hair_style == "receding":
            temples = np.exp(-(((np.abs(X) - 0.52) / 0.2) ** 2))
            line = line - 0.10 - 0.26 * temples + jag
        elif p.fringe == "part" and p.hair_style in ("short", "bob", "long"):
            drop = 0.42 if p.hair_style != "short" else 0.22
            away = (X - p.hair_part_x) / (0.62 if p.hair_style != "short" else 0.8)
            line = line - 0.06 + drop * (1 - np.exp(-away * away)) + 0.6 * jag
        else:
            line = line + jag
        return line

    def shadow(self) -> Floats:
        """Share of the light that reaches the skin next to the hair."""
        depth = 0.5 if self.portrait.hair_style != "buzz" else 0.25
        return 1 - depth * np.exp(-np.maximum(self.opening, 0) / 0.09)

    def draw_behind(self, canvas: Canvas, lamp: Lamp) -> None:
        """Draw the hair behind neck and ears, and a bun or a ponytail."""
        at = self.surface.at
        if self.portrait.hair_style in ("bun", "ponytail"):
            self._draw_tied(canvas, lamp)
        d, q, w, slope = self._outline(at)
        d = np.maximum(d, at.y - self.ends - 0.05 * np.sin(21 * q + self.phases[8]))
        if self.cut.ends < 0.5 or not self.behind_ears:
            self._lay(canvas, at, d, q, w, slope, lamp, dim=0.5)
        else:
            self._lay(canvas, at, d, q, w, slope, lamp, dim=0.8)

    def draw_front(self, canvas: Canvas, lamp: Lamp) -> None:
        """Draw the hair over head, ears and shoulders."""
        at = self.surface.at
        d, q, w, slope = self._outline(at)
        cut = at.y - self.ends - 0.05 * np.sin(21 * q + self.phases[8])
        d = np.maximum(d, cut)
        self._lay(canvas, at, d, q, w, slope, lamp, dim=1.0, roots=self.opening)

    def _draw_tied(self, canvas: Canvas, lamp: Lamp) -> None:
        p = self.portrait
        back = -math.sin(self.head.yaw)
        if p.hair_style == "bun":
            cx, cy, rx, ry = 0.35 * back, self.top + 0.02, 0.36, 0.30
        else:
            side = 1.0 if p.hair_part_x > 0 else -1.0
            cx, cy, rx, ry = 0.62 * side + 0.3 * back, 0.85, 0.30, 1.0
        ry *= 1 + 0.08 * p.hair_volume
        at = canvas.window.crop(cx - rx - 0.1, cx + rx + 0.1, cy - ry - 0.1, cy + ry + 0.1)
        if at is None:
            return
        ex, ey = (at.x - cx) / rx, (at.y - cy) / ry
        d = (np.hypot(ex, ey) - 1) * min(rx, ry)
        width = np.full_like(at.y, rx)
        self._lay(canvas, at, d, ex + 0 * ey, width, -ey * 0.8, lamp, dim=0.85)

    def _lay(
        self,
        canvas: Canvas,
        at: Window,
        d: Floats,
        q: Floats,
        w: Floats,
        slope: Floats,
        lamp: Lamp,
        *,
        dim: float,
        roots: Floats | None = None,
    ) -> None:
        """Paint hair inside d with its strands, light and gloss."""
        cover = coverage(d, at.px)
        if roots is not None:  # single hairs make the edge softer than a pixel
            soft = 0.05 if has_bangs(self.portrait) else 0.085
            cover = cover * coverage(roots, max(at.px, soft))
        if self.portrait.hair_style == "buzz":
            cover = cover * 0.82
        strands = self._strands(at, q, w)
        q = clip(q, -0.98, 0.98)
        nz = np.sqrt(1 - q * q)
        nx, ny = q, clip(-0.55 * slope, -1.1, 1.1) * (1 - 0.3 * nz)
        ny = ny + 0 * nz
        length = 1 / np.sqrt(nx * nx + ny * ny + (nz + 0.15) ** 2)
        nx, ny, nz = nx * length, ny * length, (nz + 0.15) * length
        light = lamp.on(nx, ny, nz)
        p = self.portrait
        base = linear(p.hair_colour)
        grey = clip(p.hair_grey * (1 + 0.5 * (1 - p.hair_grey) * strands), 0, 1)
        colour = base[:, None, None] + (linear(palette.GREY_HAIR) - base)[:, None, None] * grey
        relief = dim * (0.92 + 0.38 * strands)
        edge = 1 - 0.35 * np.exp(np.minimum(d, 0) / 0.10)
        lit = colour * light * (relief * edge)
        band = np.exp(-(((at.y - (-0.95 + 0.5 * q * q) - 0.06 * strands) / 0.20) ** 2))
        shine = band * np.maximum(nx * lamp.direction[0] + nz * lamp.direction[2] + 0.2, 0)
        shine = shine * (0.16 if not self.cut.curl else 0.05) * dim * (0.75 + 0.5 * strands)
        lit += shine * (0.30 + 0.9 * np.sqrt(colour)) * 0.8
        canvas.paint(at, cover, lit, "hair")

    def _strands(self, at: Window, q: Floats, w: Floats) -> Floats:
        """Texture from -1 to 1: waves across the outline, or curls."""
        ph, px = self.phases, at.px
        if self.cut.curl:
            f = 13 + 6 * self.cut.curl
            x, y = at.x * f, at.y * f
            a = np.sin(x + 2.1 * np.sin(0.55 * y + ph[0]) + ph[1])
            b = np.sin(y + 2.1 * np.sin(0.6 * x + ph[2]) + ph[3])
            curls: Floats = (0.25 + a * b) * fade(f / 4.2, px)
            return curls
        if self.portrait.hair_style == "buzz":
            grain = np.sin(at.x * 71 + 3 * np.sin(at.y * 47)) * np.sin(at.y * 83 + ph[0])
            stubble: Floats = 0.5 * grain * fade(13, px)
            return stubble
        q = q + 0.05 * self.portrait.hair_wave * np.sin(4.2 * at.y + ph[0])
        if self.portrait.fringe == "part":
            q = q - 0.35 * self.portrait.hair_part_x * clip((0.2 - at.y) / 1.4, 0, 1)
        total = np.zeros(np.broadcast_shapes(q.shape, at.y.shape), np.float32)
        for f, amp, warp, phase in ((9, 0.42, 1.1, 1), (23, 0.38, 1.6, 2), (57, 0.34, 2.3, 3)):
            left = fade(f / (2 * math.pi * np.maximum(w, 0.3)), px)
            total += (
                amp * left * np.sin(f * q + warp * np.sin(1.9 * at.y + ph[phase]) + ph[phase + 3])
            )
        return total


def _round_min(a: Floats, b: Floats, radius: float) -> Floats:
    """The smaller of two distances, with a rounded corner between them."""
    near = np.maximum(radius - np.abs(a - b), 0)
    return np.minimum(a, b) - near * near * (0.25 / radius)
