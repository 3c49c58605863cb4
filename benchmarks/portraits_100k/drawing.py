"""Draws portraits into tar files, one process per core; existing files are kept."""

from __future__ import annotations

import io
import multiprocessing
import tarfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from invertory.resources.portraits import Portraits

SIZE_PX, SEED = 64, 100


def draw_tar(path: Path, first: int, number: int) -> None:
    """Draw the portraits from `first` into a tar file, which gets its name once it is complete."""
    portraits = Portraits(num=first + number, seed=SEED, size_px=SIZE_PX)
    scratch = path.with_suffix(".tmp")
    with tarfile.open(scratch, "w") as tar:
        for i in range(first, first + number):
            data = portraits.image(i)
            member = tarfile.TarInfo(f"{i:06d}.png")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    scratch.replace(path)


def draw_all(folder: Path, number: int, shard_size: int, processes: int) -> tuple[int, float]:
    """Draw the missing tar files => (portraits drawn, seconds)."""
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
