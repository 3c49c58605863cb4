"""The table and the plot of a curve."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.portraits_100k.curve import STAGES

MIN_SHARDS = 3  # whose peaks make a line
INK, FAINT, PAPER, LINE, SECOND = "#22242a", "#d0d2d8", "#ffffff", "#1f77b4", "#d62728"


def thinned(curve: list[dict[str, float]], number: int) -> list[dict[str, float]]:
    """At most `number` evenly spaced lines, including the last; sizes are the peaks in between."""
    step = max(1, -(-len(curve) // number))
    groups = [curve[i : i + step] for i in range(0, len(curve), step)]
    return [group[-1] | {"rss_mb": max(line["rss_mb"] for line in group)} for group in groups]


def growth_bytes(curve: list[dict[str, float]]) -> float:
    """Growth of the resident size in bytes per image; NaN with too few shards.

    A least-squares fit to the peak of each shard's inversion, over the later half of the shards: a
    stage grows while it runs, and the first shards load everything that is shared.
    """
    peaks: dict[float, float] = {}  # images listed so far => peak in MB
    for before, line in pairwise(curve):
        if line[STAGES[-1]] > before[STAGES[-1]]:
            done = line[STAGES[0]]
            peaks[done] = max(peaks.get(done, 0.0), line["rss_mb"])
    later = sorted(peaks.items())[len(peaks) // 2 :]
    if len(later) < MIN_SHARDS:
        return float("nan")
    images, peaks_mb = np.array(later).T
    return float(np.polyfit(images, peaks_mb, 1)[0] * 2**20)


def table(curve: list[dict[str, float]], about: str) -> str:
    last, peak = curve[-1], max(line["rss_mb"] for line in curve)
    done = last[STAGES[-1]]
    lines = [
        f"{about}\n",
        f"Chain: {done:,.0f} images in {last['elapsed_s'] / 60:.1f} min, "
        f"{done / last['elapsed_s']:.0f} a second and {1e3 * last['cpu_s'] / done:.1f} ms of CPU "
        f"per image; largest resident size {peak:.0f} MB, over the later half "
        f"{growth_bytes(curve):+.0f} bytes per image.\n",
        "| minutes | " + " | ".join(STAGES) + " | resident, MB (peak since the previous line) |",
        "|---" * (len(STAGES) + 2) + "|",
    ]
    for line in thinned(curve, 20):
        counts = " | ".join(f"{line[name]:,.0f}" for name in STAGES)
        lines.append(f"| {line['elapsed_s'] / 60:.1f} | {counts} | {line['rss_mb']:.0f} |")
    return "\n".join(lines) + "\n"


def plot(curve: list[dict[str, float]], size: tuple[int, int] = (640, 300)) -> Image.Image:
    """Latents written (left axis) and resident size (right axis) over minutes."""
    image = Image.new("RGB", size, PAPER)
    pen, (left, top, right, bottom) = ImageDraw.Draw(image), (70, 24, size[0] - 70, size[1] - 40)
    minutes = max(curve[-1]["elapsed_s"] / 60, 1e-9)
    pen.rectangle((left, top, right, bottom), outline=FAINT)
    for name, colour, label_x in ((STAGES[-1], LINE, 6), ("rss_mb", SECOND, right + 6)):
        most = max(line[name] for line in curve) * 1.1 or 1.0
        points = [
            (
                left + (right - left) * line["elapsed_s"] / 60 / minutes,
                bottom - (bottom - top) * line[name] / most,
            )
            for line in curve
        ]
        pen.line(points, fill=colour, width=2)
        for share in (0.0, 0.5, 1.0):
            y = bottom - (bottom - top) * share
            pen.text((label_x, y - 6), f"{share * most:,.0f}", fill=colour)
    pen.text((left, 6), "latents written", fill=LINE)
    pen.text((right - 110, 6), "resident size, MB", fill=SECOND)
    pen.text(((left + right) // 2 - 60, bottom + 14), f"0 to {minutes:.1f} minutes", fill=INK)
    return image
