"""Interpolation between key frames, measured against the rendered frames.

    python -m benchmarks.key_frames --people 8 --every 8

Pose, smile and lighting of a portrait change smoothly, each with its own period; every `--every`-th
frame is a key frame. The frames between are interpolated from the pixels of the key frames
(linearly) or from their tiled latents (linearly, or by Gaussian windows of several widths as in
section 4.3 of InvGAN). The last row reconstructs the true frames, the upper limit of the
interpolation of latents. Only frames between key frames are measured. Writes key_frames.json and a
strip of images, key_frames.jpg.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare.sheet import save, sheet
from benchmarks.tiled_pairs import add_arguments, chosen_pair, network
from invertory.editing.key_frames import SIGMA, average_codes, interpolate_frames, linear_weights
from invertory.images import to_tensor
from invertory.metrics.pixel import psnr_db
from invertory.metrics.spread import Spread, spread_of
from invertory.metrics.ssim import ssim
from invertory.perceptual import FeatureDistance
from invertory.portraits import Portrait, draw, render, row_seed
from invertory.resources.models import ModelStore

if TYPE_CHECKING:
    from invertory.editing.tiling import TiledPair
    from invertory.perceptual import Perceptual

SEED = 90_021  # of people that no training has seen
MOVES = {"yaw_deg": (24.0, 64.0), "smile_amount": (0.8, 44.0), "light_deg": (50.0, 80.0)}
# attribute => (swing, frames of a period)
SIGMAS = (0.25, 0.35, SIGMA, 0.6)  # spacings of key frames
PIXELS, LINEAR, LIMIT = "pixels, linear", "codes, linear", "true frames, inverted"
COLUMNS = 9  # of the strip


def scene(person: Portrait, times: range, rng: np.random.Generator) -> list[Portrait]:
    """One portrait per time; three attributes oscillate about 0, each with its own phase."""
    phases = {name: rng.uniform(0, 2 * math.pi) for name in MOVES}
    frames = []
    for t in times:
        frame = person
        for name, (swing, period) in MOVES.items():
            value = swing * math.sin(2 * math.pi * t / period + phases[name])
            frame = frame.with_attribute(name, value)
        frames.append(frame)
    return frames


def sequences(people: int, num: int, px: int) -> Iterator[Tensor]:
    """Frames [num, 3, px, px] in [-1, 1] of one person after another."""
    for row in range(people):
        seed = row_seed(SEED, row)
        frames = scene(draw(seed), range(num), np.random.default_rng((SEED, row)))
        yield to_tensor([render(frame, px).image for frame in frames])


@torch.no_grad()
def filled(frames: Tensor, every: int, pair: TiledPair) -> dict[str, Tensor]:
    """Arm => all frames [T, 3, S, S], interpolated from every `every`-th."""
    times = torch.arange(len(frames))
    keys = times[::every]
    linear = linear_weights(times, keys)
    codes = pair.codes(frames[keys])
    found = {
        PIXELS: average_codes(frames[keys], linear),
        LINEAR: pair.images(average_codes(codes, linear)),
    }
    for sigma in SIGMAS:
        made = interpolate_frames(frames[keys], times, keys, pair, sigma=sigma)
        found[f"codes, Gaussian {sigma:g}"] = made
    found[LIMIT] = pair.images(pair.codes(frames))
    return {name: made.clamp(-1, 1) for name, made in found.items()}


@torch.no_grad()
def measured(
    made: Tensor, truth: Tensor, limit: Tensor, every: int, perceptual: Perceptual
) -> dict[str, np.ndarray]:
    """Measures of the frames between key frames; `limit` are the reconstructed true frames."""
    between = torch.arange(len(truth)) % every > 0
    some, true, best = made[between], truth[between], limit[between]
    distance = perceptual.distance(perceptual.features(some), perceptual.features(true))
    found = {
        "PSNR (dB)": psnr_db(some, true),
        "SSIM": ssim(some, true),
        perceptual.name: distance,
        "jolt x 1000": 1000 * jolt(made).reshape(1),
    }
    if made is not limit:
        found["PSNR to the limit (dB)"] = psnr_db(some, best)
    return {name: values.double().numpy() for name, values in found.items()}


def jolt(frames: Tensor) -> Tensor:
    """Mean absolute second difference in time, 0 if every pixel changes linearly."""
    return frames.diff(n=2, dim=0).abs().mean()


def run(args: argparse.Namespace) -> dict[str, Any]:
    models = ModelStore()
    chosen = chosen_pair(args, models)
    pair = chosen.pair
    num = (args.keys - 1) * args.every + 1
    perceptual = FeatureDistance(network(args.classifier, models), "portraits_classifier_features")
    columns: dict[str, dict[str, list[np.ndarray]]] = {}
    jolts: list[float] = []
    strip: list[tuple[str, Tensor]] = []
    for frames in sequences(args.people, num, pair.grid.size_px):
        made = filled(frames, args.every, pair)
        jolts.append(1000 * float(jolt(frames)))
        for arm, images in made.items():
            own = measured(images, frames, made[LIMIT], args.every, perceptual)
            for name, values in own.items():
                columns.setdefault(arm, {}).setdefault(name, []).append(values)
        if not strip:
            few = slice(0, COLUMNS * max(args.every // 4, 1), max(args.every // 4, 1))
            strip = [("true frames", frames[few])]
            strip += [(arm, images[few]) for arm, images in made.items()]
    rows = {
        arm: {name: spread_of(np.concatenate(values)) for name, values in own.items()}
        for arm, own in columns.items()
    }
    args.out.mkdir(parents=True, exist_ok=True)
    save(sheet(strip), args.out / "key_frames.jpg")
    print(table(rows))
    print(f"\njolt x 1000 of the true frames: {np.mean(jolts):.2f}")
    return {"pair": chosen.metadata, "true_jolt_x_1000": np.mean(jolts), "rows": as_json(rows)}


def table(rows: dict[str, dict[str, Spread]]) -> str:
    """Means and deviations over frames."""
    names = list(dict.fromkeys(name for own in rows.values() for name in own))
    lines = [f"| | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for arm, own in rows.items():
        cells = [f"{own[n].mean:.3f} ± {own[n].std:.3f}" if n in own else "" for n in names]
        lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines)


def as_json(rows: dict[str, dict[str, Spread]]) -> dict[str, Any]:
    return {arm: {n: spread._asdict() for n, spread in own.items()} for arm, own in rows.items()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--keys", type=int, default=9, help="key frames per person (9)")
    parser.add_argument(
        "--every", type=int, default=8, help="frames from one key frame to the next (8)"
    )
    parser.add_argument("--classifier", default="bundled://portraits_classifier")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/compare"))
    args = parser.parse_args()
    if args.keys < 2 or args.every < 2 or args.people < 1:
        parser.error("expected --keys and --every of at least 2 and --people of at least 1")
    return args


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    found = run(args)
    settings = {"people": args.people, "keys": args.keys, "every": args.every, "moves": MOVES}
    summary = {"settings": settings, **found, "took_s": round(time.perf_counter() - start, 1)}
    (args.out / "key_frames.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
