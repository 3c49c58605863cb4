"""Deblurring by extrapolating latents, on portraits whose sharp originals are known.

    python -m benchmarks.deblur --num 64 --blur 1.0

Images are blurred by a Gaussian of `--blur` px or downsampled `--reduce` times, as in section 4.3
of InvGAN. The latents are then moved away from those of a blurred copy by each of `--amounts`. For
comparison, the table lists the degraded image, the same extrapolation of its pixels (unsharp
masking), and the reconstruction of the sharp image, the best that the pair of networks can reach.
Writes deblur.json and a strip of images, deblur.jpg.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.compare.sheet import save, sheet
from benchmarks.key_frames import as_json, table
from benchmarks.tiled_pairs import add_arguments, chosen_pair, network
from invertory.editing.deblur import deblur, enlarge, extrapolate, gaussian_blur
from invertory.images import to_tensor
from invertory.metrics.pixel import psnr_db
from invertory.metrics.seams import seams
from invertory.metrics.spread import Spread, spread_of
from invertory.metrics.ssim import ssim
from invertory.perceptual import FeatureDistance
from invertory.portraits import draw, render, row_seed
from invertory.resources.models import ModelStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from invertory.editing.tiling import TiledPair
    from invertory.perceptual import Perceptual

SEED = 90_022  # of people that no training has seen
UNSHARP, LIMIT = "unsharp", "sharp image, inverted"
COLUMNS = 8  # of the strip


def unsharp(sharp: Tensor, blur_px: float, reduce: int) -> Tensor:
    """[N, 3, H, H] => the degraded images: blurred, downsampled, or both."""
    soft = gaussian_blur(sharp, blur_px)
    px = sharp.shape[-1] // reduce
    return soft if reduce == 1 else interpolate(soft, (px, px), mode="area")


@torch.no_grad()
def arms(
    sharp: Tensor, degraded: Tensor, pair: TiledPair, amounts: Sequence[float], sigma_px: float
) -> dict[str, Tensor]:
    """Arm => images [N, 3, S, S]."""
    whole = enlarge(degraded, pair.grid.size_px)
    blurred = gaussian_blur(whole, sigma_px)
    found = {UNSHARP: whole}
    found |= {f"pixels, {a:g}": extrapolate(whole, blurred, a) for a in amounts if a}
    made = deblur(degraded, pair, amounts, sigma_px=sigma_px)
    found |= {f"codes, {a:g}": images for a, images in zip(amounts, made, strict=True)}
    found[LIMIT] = pair.images(pair.codes(sharp))
    return {name: images.clamp(-1, 1) for name, images in found.items()}


@torch.no_grad()
def measured(
    made: Tensor, sharp: Tensor, perceptual: Perceptual, borders: tuple[int, ...]
) -> dict[str, Spread]:
    """Measures against the sharp images, whose sharpness is 1."""
    distance = perceptual.distance(perceptual.features(made), perceptual.features(sharp))
    found = {
        "PSNR (dB)": psnr_db(made, sharp),
        "SSIM": ssim(made, sharp),
        perceptual.name: distance,
        "sharpness": slope(made) / slope(sharp),
    }
    if borders:
        found["seams (ratio)"] = seams(made, borders).ratio
    return {name: spread_of(values.double().numpy()) for name, values in found.items()}


def slope(images: Tensor) -> Tensor:
    """Root mean square of the differences of neighbouring pixels, [N]."""
    across, down = images.diff(dim=-1), images.diff(dim=-2)
    return (across.square().mean((1, 2, 3)) + down.square().mean((1, 2, 3))).sqrt()


def run(args: argparse.Namespace) -> dict[str, Any]:
    models = ModelStore()
    chosen = chosen_pair(args, models)
    pair = chosen.pair
    people = [draw(row_seed(SEED, row)) for row in range(args.num)]
    sharp = to_tensor([render(person, pair.grid.size_px).image for person in people])
    degraded = unsharp(sharp, args.blur, args.reduce)
    sigma_px = args.sigma or args.blur or args.reduce / 2
    made = arms(sharp, degraded, pair, args.amounts, sigma_px)
    perceptual = FeatureDistance(network(args.classifier, models), "portraits_classifier_features")
    rows = {n: measured(p, sharp, perceptual, pair.grid.borders) for n, p in made.items()}
    args.out.mkdir(parents=True, exist_ok=True)
    strip = [("sharp", sharp[:COLUMNS])] + [(n, p[:COLUMNS]) for n, p in made.items()]
    save(sheet(strip), args.out / "deblur.jpg")
    print(table(rows))
    return {"pair": chosen.metadata, "sigma_px": sigma_px, "rows": as_json(rows)}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--num", type=int, default=64, help="portraits (64)")
    parser.add_argument(
        "--blur", type=float, default=1.0, help="standard deviation of the blur in px (1)"
    )
    parser.add_argument(
        "--reduce", type=int, default=1, help="factor of downsampling, in addition (1)"
    )
    parser.add_argument(
        "--sigma",
        type=float,
        default=0.0,
        help="standard deviation in px for the direction (--blur)",
    )
    parser.add_argument("--amounts", type=float, nargs="+", default=[0.0, 0.5, 1.0, 2.0, 4.0])
    parser.add_argument("--classifier", default="bundled://portraits_classifier")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs/compare"))
    args = parser.parse_args()
    if args.num < 1 or args.blur < 0 or args.reduce < 1 or args.sigma < 0:
        parser.error("expected --num and --reduce of at least 1, --blur and --sigma of at least 0")
    return args


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    start = time.perf_counter()
    found = run(args)
    settings = {name: getattr(args, name) for name in ("num", "blur", "reduce", "amounts")}
    summary = {"settings": settings, **found, "took_s": round(time.perf_counter() - start, 1)}
    (args.out / "deblur.json").write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    main()
