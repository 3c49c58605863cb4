"""Plots of the comparison: distortion against time and against editability."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from benchmarks.compare.sheet import INK, LABEL_PX, PAPER, font
from invertory.metrics.spread import Spread

FAINT = (208, 210, 216)
COLOURS = (
    (31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14),
    (23, 190, 207), (140, 86, 75), (227, 119, 194), (127, 127, 127), (188, 189, 34),
)  # fmt: skip


class Point(NamedTuple):
    """The two means of an arm, with their confidence intervals."""

    name: str
    x: Spread
    y: Spread


class Axis(NamedTuple):
    label: str
    is_log: bool = False

    def place(self, value: float) -> float:
        return math.log10(max(value, 1e-12)) if self.is_log else value


class Panel(NamedTuple):
    title: str
    x: Axis
    y: Axis
    points: Sequence[Point]


def plot(panels: Sequence[Panel], size: tuple[int, int] = (560, 480)) -> Image.Image:
    """Panels side by side with their legends; bars are 95 % confidence intervals of the mean."""
    rows = max((len(panel.points) for panel in panels), default=0)
    width, height = size
    legend = (rows + 1) // 2 * (LABEL_PX + 6) + 12
    image = Image.new("RGB", (width * max(len(panels), 1), height + legend), PAPER)
    for i, panel in enumerate(panels):
        _panel(ImageDraw.Draw(image), panel, (i * width, 0, (i + 1) * width, height))
    return image


def ticks(low: float, high: float, *, is_log: bool) -> list[float]:
    """Round values between the two ends, which are logarithms if `is_log`."""
    if is_log:
        found = [
            10.0**e * m for e in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)
        ]
        return [v for v in found if low <= math.log10(v) <= high]
    step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9)))
    step = next(step * m for m in (0.1, 0.2, 0.5, 1.0, 2.0) if (high - low) / (step * m) <= 6)
    first = math.ceil(low / step)
    return [round(i * step, 12) for i in range(first, math.floor(high / step) + 1)]


def _panel(draw: ImageDraw.ImageDraw, panel: Panel, box: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box[0] + 70, box[1] + 52, box[2] - 18, box[3] - 52
    known = [p for p in panel.points if p.x.n and p.y.n]
    draw.text((left, box[1] + 10), panel.title, INK, font(15))
    if not known:
        draw.text((left, top), "nothing was measured", INK, font())
        return
    x_range = _range(panel.x, [point.x for point in known])
    y_range = _range(panel.y, [point.y for point in known])

    def at(x: float, y: float) -> tuple[float, float]:
        across = (panel.x.place(x) - x_range[0]) / (x_range[1] - x_range[0])
        up = (panel.y.place(y) - y_range[0]) / (y_range[1] - y_range[0])
        return left + across * (right - left), bottom - up * (bottom - top)

    draw.rectangle((left, top, right, bottom), outline=FAINT)
    for value in ticks(*x_range, is_log=panel.x.is_log):
        x = at(value, 1)[0]
        draw.line((x, top, x, bottom), FAINT)
        draw.text((x, bottom + 4), f"{value:g}", INK, font(), anchor="ma")
    for value in ticks(*y_range, is_log=panel.y.is_log):
        y = at(1, value)[1]
        draw.line((left, y, right, y), FAINT)
        draw.text((left - 5, y), f"{value:g}", INK, font(), anchor="rm")
    draw.text(((left + right) / 2, bottom + 22), panel.x.label, INK, font(), anchor="ma")
    draw.text((left, top - 5), panel.y.label, INK, font(), anchor="ls")
    for i, point in enumerate(known):
        colour = COLOURS[i % len(COLOURS)]
        draw.line((*at(point.x.low, point.y.mean), *at(point.x.high, point.y.mean)), colour, 1)
        draw.line((*at(point.x.mean, point.y.low), *at(point.x.mean, point.y.high)), colour, 1)
        x, y = at(point.x.mean, point.y.mean)
        _mark(draw, x, y, i, colour)
        row, column = divmod(i, 2)
        here = (left + column * (right - left) / 2, box[3] - 4 + row * (LABEL_PX + 6))
        _mark(draw, here[0], here[1] + 7, i, colour)
        draw.text((here[0] + 10, here[1]), point.name, INK, font())


def _mark(
    draw: ImageDraw.ImageDraw, x: float, y: float, i: int, colour: tuple[int, int, int]
) -> None:
    """A disc, or a square once the colours repeat."""
    shape = draw.ellipse if i < len(COLOURS) else draw.rectangle
    shape((x - 4, y - 4, x + 4, y + 4), fill=colour, outline=INK)


def _range(axis: Axis, spreads: Sequence[Spread]) -> tuple[float, float]:
    """The range of the intervals with a margin; logarithms on a logarithmic axis."""
    ends = [axis.place(v) for s in spreads for v in (s.low, s.high, s.mean) if math.isfinite(v)]
    margin = 0.08 * (max(ends) - min(ends)) or 0.5
    return min(ends) - margin, max(ends) + margin
