"""Output of `sam_curve`: rows of its table, and loss over time as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Final

import torch

WIDTH, HEIGHT, EDGE, LEGEND = 760, 400, 60, 130  # px
COLOURS: Final = (
    "#111111", "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9", "#8c564b",
    "#7f7f7f", "#6a3d9a", "#b2a429",
)  # fmt: skip
FIRST: Final = "sam"  # drawn with thicker lines
Place = tuple[float, float]
HEADER = """\
| spaces | steps | loss | PSNR plain | PSNR object | CPU s | bytes | smile | by 3.4 | kept dB |
|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """The results of a method at a budget, averaged over images; 0 steps mean a single pass."""

    name: str
    steps: int
    loss: float
    plain_db: float
    object_db: float
    seconds: float
    num_bytes: float
    smile: float
    strict_smile: float
    kept_db: float

    def __str__(self) -> str:
        return (
            f"| {self.name} | {self.steps or '-'} | {self.loss:.3f} | {self.plain_db:.2f} | "
            f"{self.object_db:.2f} | {self.seconds:.3g} | {self.num_bytes:.0f} | "
            f"{self.smile:+.2f} | {self.strict_smile:+.2f} | {self.kept_db:.2f} |"
        )


def plot(rows: Sequence[Row]) -> str:
    """Loss over CPU seconds as SVG, both axes logarithmic; a method with one row is a point."""
    logs = torch.tensor([[row.seconds, row.loss] for row in rows], dtype=torch.float64).log10()
    low, high = logs.amin(0), logs.amax(0)
    share = (logs - low) / (high - low).clamp_min(1e-9)
    x = EDGE + share[:, 0] * (WIDTH - EDGE - LEGEND - 30)
    y = HEIGHT - EDGE - share[:, 1] * (HEIGHT - 2 * EDGE)
    ends = (10**low).tolist() + (10**high).tolist()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{EDGE}" y="{HEIGHT - 18}">CPU seconds per image, {ends[0]:.2g} to '
        f"{ends[2]:.2g} (log)</text>",
        f'<text x="{EDGE}" y="30">loss, {ends[1]:.2g} to {ends[3]:.2g} (log)</text>',
    ]
    names = dict.fromkeys(row.name for row in rows)
    for k, (name, colour) in enumerate(zip(names, cycle(COLOURS), strict=False)):
        places = [(float(x[i]), float(y[i])) for i, row in enumerate(rows) if row.name == name]
        parts += _line(name, places, colour)
        parts += _legend(name, k, colour)
    return "\n".join([*parts, "</svg>\n"])


def _line(name: str, places: Sequence[Place], colour: str) -> list[str]:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    thick = 3 if name == FIRST else 1.5
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{thick + 2}" fill="{colour}"/>' for x, y in places
    ]
    line = f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}"/>'
    return [line, *dots] if len(places) > 1 else dots


def _legend(name: str, k: int, colour: str) -> list[str]:
    left, top = WIDTH - LEGEND, EDGE + 20 * k
    return [
        f'<circle cx="{left}" cy="{top - 4}" r="5" fill="{colour}"/>',
        f'<text x="{left + 12}" y="{top}" fill="{colour}">{name}</text>',
    ]
