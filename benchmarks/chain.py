"""The overhead of the pipeline: the whole chain against a bare loop over the same files.

The chain lists, hashes, validates, crops, scores, inverts and edits, and publishes every table.
The loop decodes, crops, inverts with the same engine and moves each latent twice; it writes no
file, encodes no image and computes no scores. Both use the toy generator, so the difference is the
cost of tables, resuming, checks and lineage, in milliseconds per image for any generator.

Each measurement runs in a process of its own; peak memory is its largest resident size.

    python benchmarks/chain.py --sizes 1000 10000
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from invertory.alignment import centre_crop
from invertory.editing.linear import edit
from invertory.generators.toy import ToyGenerator
from invertory.images import decode, to_tensor, to_uint8
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.perceptual import PixelPyramid
from invertory.pipelines.cli.main import (
    ALLOCATOR,
)  # the environment that `invertory` restarts itself with
from invertory.pipelines.progress.memory import peak_rss_bytes
from invertory.resources.models import ModelStore

FILE_PX, CROP_PX, BATCH = 64, 32, 16
EDIT_STEPS = (-1.0, 1.0)
METHOD: dict[str, Any] = {"schedule": "ramp", "learning_rate": 0.1}


class Red(torch.nn.Module):
    """A scorer of negligible cost: the mean of the red channel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, 0].mean((1, 2))


def write_images(folder: Path, number: int) -> None:
    """Write `number` different PNGs of FILE_PX with smooth random colours."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(number):
        coarse = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        coarse.resize((FILE_PX, FILE_PX), Image.Resampling.BICUBIC).save(folder / f"{i:06d}.png")


def write_scorer(path: Path) -> None:
    torch.export.save(torch.export.export(Red(), (torch.zeros(1, 3, CROP_PX, CROP_PX),)), path)


def recipe_of(images: Path, scorer: Path, steps: int) -> dict[str, Any]:
    return {
        "name": "bench",
        "collection": {"uri": str(images)},
        "limits": {"min_px": 16},
        "alignment": {"kind": "centre", "size_px": CROP_PX},
        "generator": {"name": "toy", "options": {"resolution": CROP_PX, "frequencies": 4}},
        "perceptual": {"name": "pixels"},
        "methods": {"image2stylegan": {"steps": steps, **METHOD}},
        "attributes": {
            "red": {
                "scorer": "torchscript",
                "uri": str(scorer),
                "sha256": hashlib.sha256(scorer.read_bytes()).hexdigest(),
                "size_px": CROP_PX,
            }
        },
        "boundaries": {"red": {"num_samples": 400, "ratio": 0.2, "solver": "linear"}},
        "edits": [{"attribute": "red", "steps": list(EDIT_STEPS)}],
        "resources": {"device": "cpu", "batch_size": BATCH},
    }


def by_chain(work: Path, images: Path, steps: int) -> None:
    """Run the chain from files to edits with its store in `work`."""
    import yaml

    from invertory.pipelines.cli.running import run_recipe
    from invertory.pipelines.progress.display import Silent
    from invertory.pipelines.progress.reporting import FixedReporting
    from invertory.pipelines.recipe.recipe import load_recipe

    os.environ |= {"INVERTORY_STORE": str(work / "store"), "DAGSTER_HOME": str(work / "dagster")}
    path = work / "bench.yaml"
    path.write_text(yaml.safe_dump(recipe_of(images, work / "scorer.pt2", steps)))
    report = run_recipe(load_recipe(path, ModelStore()), FixedReporting(Silent()), Silent())
    assert not report.failures, report.failures


def by_loop(images: Path, steps: int) -> None:
    """Invert and edit the same crops batch by batch; the results are discarded."""
    G = ToyGenerator(resolution=CROP_PX, frequencies=4)
    method, perceptual = Image2StyleGAN(steps=steps, **METHOD), PixelPyramid()
    normal = torch.ones(1, G.w_dim) / G.w_dim**0.5
    moves = torch.tensor(EDIT_STEPS)
    files = sorted(images.iterdir())
    for start in range(0, len(files), BATCH):
        part = [decode(path.read_bytes()).pixels for path in files[start : start + BATCH]]
        targets = to_tensor([centre_crop(image, size_px=CROP_PX).pixels for image in part])
        seeds = range(len(part))
        found = method.invert(G, targets, seeds=seeds, perceptual=perceptual, batch_size=BATCH)
        for latent in found.latents:
            moved = edit(latent.expand(len(moves), -1, -1), normal, moves)
            with torch.no_grad():
                to_uint8(G.synthesis(moved.float()).clamp(-1, 1))


def measure(kind: str, work: Path, images: Path, steps: int) -> dict[str, float]:
    """Return `elapsed_s` (without imports) and `peak_mb` of this process."""
    peaks = [0]
    threading.Thread(target=watch, args=(peaks,), daemon=True).start()
    began = time.perf_counter()
    if kind == "chain":
        by_chain(work, images, steps)
    else:
        by_loop(images, steps)
    elapsed_s = time.perf_counter() - began
    return {"elapsed_s": elapsed_s, "peak_mb": max(*peaks, peak_rss_bytes()) / 2**20}


def watch(peaks: list[int]) -> None:
    """Record the largest resident size; each step of the chain resets the kernel's own peak."""
    while True:
        peaks[0] = max(peaks[0], peak_rss_bytes())
        time.sleep(0.05)


def in_fresh_process(kind: str, work: Path, images: Path, steps: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", kind, str(work), str(images)]
    done = subprocess.run(
        [*command, "--steps", str(steps)],
        env={**os.environ, **ALLOCATOR, "TMPDIR": str(work)},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def row_of(number: int, steps: int) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        work, images = Path(folder), Path(folder) / "pictures"
        write_images(images, number)
        write_scorer(work / "scorer.pt2")
        chain, loop = (in_fresh_process(k, work, images, steps) for k in ("chain", "loop"))
    extra_ms = 1e3 * (chain["elapsed_s"] - loop["elapsed_s"]) / number
    return (
        f"| {number:,} | {number / chain['elapsed_s']:.1f} | {number / loop['elapsed_s']:.1f} "
        f"| {chain['elapsed_s'] / loop['elapsed_s']:.2f} | {extra_ms:.1f} "
        f"| {chain['peak_mb']:.0f} | {loop['peak_mb']:.0f} |"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument(
        "--measure",
        nargs=3,
        metavar=("KIND", "WORK", "PICTURES"),
        help="chain or loop: measure this process only and print JSON",
    )
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if args.measure:
        kind, work, images = args.measure
        print(json.dumps(measure(kind, Path(work), Path(images), args.steps)))
        return
    print(
        f"{FILE_PX} px files, {CROP_PX} px crops, {args.steps} steps, {len(EDIT_STEPS)} edits per "
        f"image, batches of {BATCH}; {os.cpu_count()} cores, {torch.get_num_threads()} torch "
        f"threads, torch {torch.__version__}, {platform.machine()}\n"
    )
    print("| images | chain, images/s | loop, images/s | ratio | overhead, ms per image "
          "| chain, peak MB | loop, peak MB |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for number in args.sizes:
        print(row_of(number, args.steps), flush=True)


if __name__ == "__main__":
    main()
