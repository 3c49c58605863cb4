"""100,000 portraits through the chain on a small machine: how fast, and in how much memory.

The portraits are drawn first, into tars, by one process a core; that is counted apart, since a
collection is mostly there already. Then images > aligned > latents (> attributes) run as
`invertory run` runs them, in a process of its own whose resident size and progress are noted every
second. Both halves go on where a killed one stopped: the same command again.

    python benchmarks/portraits_100k.py --num 100000 --work /data/portraits_100k --docs docs

`docs` then holds `portraits_100k.csv` (the curve), `.md` (the table) and `.png`.
"""

from __future__ import annotations

import argparse
import csv
import io
import multiprocessing
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw

from ops.ahead import num_cores
from pipelines.cli import ALLOCATOR
from pipelines.progress import Silent
from resources.portraits import Portraits

METHOD = "domain_guided_encoder"
STAGES = ("images", "aligned", f"latents/{METHOD}")
ATTRIBUTES = ("glasses", "male", "smile")
COLUMNS = ("elapsed_s", "cpu_s", "rss_mb", *STAGES, "attributes")
SIZE_PX, SEED = 64, 100
INK, FAINT, PAPER, LINE, SECOND = "#22242a", "#d0d2d8", "#ffffff", "#1f77b4", "#d62728"


def draw_tar(path: Path, first: int, number: int) -> None:
    """Portraits `first` and on, into a tar that bears its name only when it is whole."""
    portraits = Portraits(num=first + number, seed=SEED, size_px=SIZE_PX)
    scratch = path.with_suffix(".tmp")
    with tarfile.open(scratch, "w") as tar:
        for i in range(first, first + number):
            data = portraits.picture(i)
            member = tarfile.TarInfo(f"{i:06d}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    scratch.replace(path)


def draw_all(folder: Path, number: int, shard_size: int, processes: int) -> tuple[int, float]:
    """The tars that are missing => (portraits drawn, seconds)."""
    folder.mkdir(parents=True, exist_ok=True)
    began, drawn = time.perf_counter(), 0
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = []
        for first in range(0, number, shard_size):
            path, size = folder / f"{first:06d}.tar", min(shard_size, number - first)
            if not path.exists():
                jobs.append(pool.submit(draw_tar, path, first, size))
                drawn += size
        for job in jobs:
            job.result()
    return drawn, time.perf_counter() - began


def recipe_of(asked: argparse.Namespace) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "name": "portraits_100k",
        "collection": {
            "uri": str(asked.work / "pictures" / "*.tar"),
            "shard_size": asked.shard_size,
        },
        "limits": {"min_px": 16},
        "alignment": {"kind": "centre", "size_px": SIZE_PX},
        "generator": {"name": "portraits"},
        "perceptual": {"name": "portraits_classifier"},
        "methods": {METHOD: {}},
        "resources": {
            "device": asked.device,
            "batch_size": asked.batch,
            "commit_rows": 8 * asked.batch,
            "precision": asked.precision,
        },
    }
    if asked.attributes:
        recipe["attributes"] = {name: {"scorer": "classifier"} for name in ATTRIBUTES}
    return recipe


@dataclass
class Curve(Silent):
    """Pictures done by each stage and the resident size, a line of a CSV each second."""

    path: Path
    done: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COLUMNS[3:], 0))
    before_s: float = 0.0  # of runs that were killed
    cpu_before_s: float = 0.0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._is_over = threading.Event()

    @contextmanager
    def stage(self, name: str, total: int, start: int = 0) -> Iterator[Any]:
        yield _Counted(self, name)

    @contextmanager
    def kept(self) -> Iterator[None]:
        is_new = not self.path.exists()
        thread = threading.Thread(target=self._keep, args=(is_new,))
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _keep(self, is_new: bool) -> None:
        with self.path.open("a", newline="") as file:
            lines = csv.writer(file)
            if is_new:
                lines.writerow(COLUMNS)
            while True:
                is_last = self._is_over.wait(1.0)
                elapsed_s = self.before_s + time.monotonic() - self._began
                counts = [self.done[name] for name in COLUMNS[3:]]
                cpu_s = self.cpu_before_s + time.process_time()
                lines.writerow(
                    [f"{elapsed_s:.1f}", f"{cpu_s:.1f}", f"{resident_mb():.1f}", *counts]
                )
                file.flush()
                if is_last:
                    return


@dataclass(frozen=True)
class _Counted:
    curve: Curve
    name: str

    def advance(self, rows: int, rejects: int = 0) -> None:
        self.curve.done[self.name] = self.curve.done.get(self.name, 0) + rows


def resident_mb() -> float:
    """Resident size of this process, now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run_chain(work: Path) -> None:
    """The recipe in `work`, to its end; this process is watched."""
    import torch

    from pipelines.recipe import load_recipe
    from pipelines.reporting import Fixed
    from pipelines.running import run_recipe

    torch.set_num_threads(num_cores())
    os.environ |= {"INVERTORY_STORE": str(work / "store"), "DAGSTER_HOME": str(work / "dagster")}
    curve = Curve(work / "curve.csv")
    if curve.path.exists() and (lines := read_curve(curve.path)):
        curve.before_s, curve.cpu_before_s = lines[-1]["elapsed_s"], lines[-1]["cpu_s"]
        curve.done = {name: int(lines[-1][name]) for name in COLUMNS[3:]}
    with curve.kept():
        report = run_recipe(load_recipe(work / "recipe.yaml"), Fixed(curve), curve)
    if report.failures:
        raise RuntimeError("; ".join(report.failures))


def read_curve(path: Path) -> list[dict[str, float]]:
    """Whole lines; a killed run may have left half of one."""
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return [{k: float(v) for k, v in line.items()} for line in lines if all(line.values())]


def in_fresh_process(work: Path) -> None:
    command = [sys.executable, __file__, "--chain", "--work", str(work)]
    subprocess.run(command, env={**os.environ, **ALLOCATOR}, check=True)


def thinned(curve: list[dict[str, float]], number: int) -> list[dict[str, float]]:
    """`number` lines or fewer, evenly, the last one among them; a peak is kept as the size."""
    step = max(1, -(-len(curve) // number))
    groups = [curve[i : i + step] for i in range(0, len(curve), step)]
    return [group[-1] | {"rss_mb": max(line["rss_mb"] for line in group)} for group in groups]


def table(curve: list[dict[str, float]], about: str) -> str:
    last, peak = curve[-1], max(line["rss_mb"] for line in curve)
    done = last[STAGES[-1]]
    lines = [
        f"{about}\n",
        f"Chain: {done:,.0f} pictures in {last['elapsed_s'] / 60:.1f} min, "
        f"{done / last['elapsed_s']:.0f} a second and {1e3 * last['cpu_s'] / done:.1f} ms of CPU a "
        f"picture; largest resident size {peak:.0f} MB.\n",
        "| minutes | " + " | ".join(STAGES) + " | resident, MB (peak since the line before) |",
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


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--num", type=int, default=100_000)
    parser.add_argument("--work", type=Path, default=Path("portraits_100k"), help="kept, resumed")
    parser.add_argument("--docs", type=Path, help="folder for the curve, the table and the plot")
    parser.add_argument("--shard_size", type=int, default=5000, help="pictures a tar and a shard")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--processes", type=int, default=num_cores(), help="that draw")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attributes", action="store_true", help=", ".join(ATTRIBUTES) + " too")
    parser.add_argument("--chain", action="store_true", help="only the chain, in this process")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    asked.work = asked.work.resolve()
    if asked.chain:
        run_chain(asked.work)
        return
    drawn, drawn_s = draw_all(asked.work / "pictures", asked.num, asked.shard_size, asked.processes)
    about = (
        f"{asked.num:,} portraits of {SIZE_PX} px, {asked.precision}, batches of {asked.batch}, "
        f"shards of {asked.shard_size}, {num_cores()} cores, load {os.getloadavg()[0]:.1f}. "
        f"Drawn beforehand: {drawn:,} in {drawn_s / 60:.1f} min by {asked.processes} processes."
    )
    (asked.work / "recipe.yaml").write_text(yaml.safe_dump(recipe_of(asked)))
    in_fresh_process(asked.work)
    curve = read_curve(asked.work / "curve.csv")
    print(table(curve, about))
    if asked.docs:
        asked.docs.mkdir(parents=True, exist_ok=True)
        (asked.docs / "portraits_100k.csv").write_text((asked.work / "curve.csv").read_text())
        (asked.docs / "portraits_100k.md").write_text(table(curve, about))
        plot(curve).save(asked.docs / "portraits_100k.png", optimize=True)


if __name__ == "__main__":
    main()
