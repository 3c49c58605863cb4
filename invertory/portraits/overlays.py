"""Text over an image, and busy backgrounds."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from invertory.portraits import palette
from invertory.portraits.canvas import SEGMENT, Canvas, clip, coverage
from invertory.portraits.head import Floats, Head
from invertory.portraits.ood import OodObject
from invertory.portraits.palette import linear
from invertory.portraits.shading import Lamp, Surface
from invertory.portraits.streams import Stream

# 5 x 7 letters, one number per row; the highest of five bits is at the left.
LETTERS: Final = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "E": (31, 16, 16, 30, 16, 16, 31),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "I": (14, 4, 4, 4, 4, 4, 14),
    "L": (16, 16, 16, 16, 16, 16, 31),
    "M": (17, 27, 21, 21, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "P": (30, 17, 17, 30, 16, 16, 16),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "S": (15, 16, 16, 14, 1, 1, 30),
    "T": (31, 4, 4, 4, 4, 4, 4),
    "V": (17, 17, 17, 17, 17, 10, 4),
    "W": (17, 17, 17, 21, 21, 27, 17),
    "Y": (17, 17, 10, 4, 4, 4, 4),
    "2": (14, 17, 1, 6, 8, 16, 31),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
}


def draw_text(canvas: Canvas, head: Head, surface: Surface, lamp: Lamp, text: OodObject) -> None:
    """Draw a caption on a bar (0), large letters over the face (1), or two outlined lines (2)."""
    stream = Stream(text.seed, 48)
    if text.variant == 0:
        _caption(canvas, text, _word(stream, 7))
    elif text.variant == 1:
        pale = palette.mix(text.colour, (1.0, 1.0, 1.0), 0.75)
        _line(canvas, _word(stream, 5), 0.45 + 0.9 * text.shift_y, 0.9, pale, 0.85, grow=0.12)
    else:
        _outlined(canvas, _word(stream, 6), 0.12)
        _outlined(canvas, _word(stream, 6), 0.895)


def _word(stream: Stream, num: int) -> str:
    keys = tuple(LETTERS)
    return "".join(keys[stream.integer(len(keys))] for _ in range(num))


def _caption(canvas: Canvas, text: OodObject, word: str) -> None:
    at = canvas.window
    v = (at.y - at.y[0, 0]) / (at.shape[0] * at.px)
    row = 0.905 + 0.05 * text.shift_y
    bar = coverage((np.abs(v - row) - 0.085) * at.shape[0] * at.px, at.px) + 0 * at.x
    canvas.paint(at, bar, linear(palette.jitter(text.colour, 0.5)), "ood")
    _line(canvas, word, row, 0.86, (0.95, 0.95, 0.95), 1.0)


def _outlined(canvas: Canvas, word: str, row: float) -> None:
    """Draw white letters with a dark outline: the same letters, thicker, below them."""
    _line(canvas, word, row, 0.80, (0.04, 0.04, 0.04), 1.0, grow=0.35)
    _line(canvas, word, row, 0.80, (0.96, 0.96, 0.94), 1.0)


def _line(
    canvas: Canvas, word: str, row: float, width: float, colour: palette.Colour, opacity: float,
    *, grow: float = 0.0,
) -> None:  # fmt: skip
    """Draw letters of this width around the row (shares of the side), with exact coverage."""
    at, size = canvas.window, canvas.window.shape[0]
    cell = width / (6 * len(word) - 1)
    bitmap = _bitmap(word)
    left, top = 0.5 - width / 2, row - 3.5 * cell
    across = _overlap(size, left + cell * np.arange(bitmap.shape[1]), cell, grow * cell)
    down = _overlap(size, top + cell * np.arange(7), cell, grow * cell)
    cover = np.minimum(down.T @ bitmap @ across, 1)
    below = canvas.light
    below += (linear(colour)[:, None, None] - below) * (opacity * cover)
    canvas.labels[at.rows, at.columns][cover > 0.5] = SEGMENT["ood"]


def _bitmap(word: str) -> Floats:
    """The cells of the word, letters one cell apart [7, 6 n - 1]."""
    rows = np.array([LETTERS[letter] for letter in word])  # [n, 7]
    bits = rows[:, :, None] >> np.array([4, 3, 2, 1, 0]) & 1  # [n, 7, 5]
    spaced = np.pad(bits, ((0, 0), (0, 0), (0, 1)))
    return spaced.transpose(1, 0, 2).reshape(7, -1)[:, :-1].astype(np.float32)


def _overlap(size: int, starts: np.ndarray, length: float, grow: float) -> Floats:
    """Share of each of `size` pixels that each cell covers along one axis [cells, size]."""
    low = (starts - grow)[:, None] * size
    high = (starts + length + grow)[:, None] * size
    pixel = np.arange(size)[None]
    inside: Floats = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, 1)
    return inside.astype(np.float32)


def draw_busy_background(canvas: Canvas, head: Head) -> None:
    """Draw shelves, frames, lamps and leaves in many colours behind the person."""
    stream = Stream(head.portrait.background_seed, 160)
    at, side = canvas.window, canvas.window.shape[0] * canvas.px
    u, v = (at.x - at.x[0, 0]) / side, (at.y - at.y[0, 0]) / side
    for _ in range(14):
        kind, colour = stream.integer(4), palette.VIVID[stream.integer(len(palette.VIVID))]
        x, y, w, h = (
            stream.uniform(),
            stream.uniform(),
            stream.uniform(0.05, 0.22),
            stream.uniform(0.05, 0.3),
        )
        tone = linear(palette.jitter(colour, stream.uniform(0.6, 1.3)))
        cover = coverage(_thing(kind, u - x, v - y, w, h) * side, at.px)
        shade = 0.75 + 0.5 * clip(0.5 + (u - x) / (2 * w) + 0 * v, 0, 1)
        canvas.paint(at, cover.astype(np.float32), tone[:, None, None] * shade)


def _thing(kind: int, dx: Floats, dy: Floats, w: float, h: float) -> Floats:
    box = np.maximum(np.abs(dx) - w, np.abs(dy) - h)
    if kind == 0:
        return box
    if kind == 1:
        return np.hypot(dx, dy) - w
    if kind == 2:
        return np.abs(box) - 0.012
    stripes = np.abs(np.sin(math.pi * (dx + 0.4 * dy) / 0.05)) * 0.016 - 0.008
    return np.maximum(box, stripes)
