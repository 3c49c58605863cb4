"""Portraits per second of the renderer, on one core and on several.

    python benchmarks/renderer.py --seconds 5 --processes 1 2

Each portrait is drawn from its seed and rendered with segmentation, landmarks and attributes. Each
process has one thread. `--supersample 2` renders at twice the size and averages.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor

from invertory.portraits import draw, render

BLOCK = 32  # portraits between two readings of the clock


def count(first: int, size_px: int, supersample: int, seconds: float) -> tuple[int, float, float]:
    """(portraits, wall seconds, CPU seconds) of this process, after a warm-up."""
    render(draw(first), size_px, supersample=supersample)
    done, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        for seed in range(first + done, first + done + BLOCK):
            portrait = draw(seed)
            rendering = render(portrait, size_px, supersample=supersample)
            if rendering.image.shape != (size_px, size_px, 3) or not portrait.attributes:
                raise RuntimeError(f"expected a labelled image of {size_px} px at seed {seed}")
        done += BLOCK
    return done, time.perf_counter() - wall, time.process_time() - cpu


def measured(processes: int, size_px: int, supersample: int, seconds: float) -> tuple[float, float]:
    """Portraits per second of all processes together, and per second of CPU time."""
    if processes == 1:
        found = [count(0, size_px, supersample, seconds)]
    else:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, mp_context=context) as pool:
            jobs = [
                pool.submit(count, 1_000_000 * i, size_px, supersample, seconds)
                for i in range(processes)
            ]
            found = [job.result() for job in jobs]
    return (
        sum(done / wall for done, wall, _ in found),
        sum(done for done, _, _ in found) / sum(cpu for _, _, cpu in found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Portraits per second of the renderer.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--supersample", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of each measurement")
    args = parser.parse_args()
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| px | supersample | processes | portraits/s | portraits/s of CPU |")
    print("|---|---|---|---|---|")
    for size_px in args.sizes:
        for supersample in args.supersample:
            for processes in args.processes:
                wall, cpu = measured(processes, size_px, supersample, args.seconds)
                print(f"| {size_px} | {supersample} | {processes} | {wall:.0f} | {cpu:.0f} |")


if __name__ == "__main__":
    main()
