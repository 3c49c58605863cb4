"""Spatially-adaptive inversion (SAM) of photographs of faces with MobileStyleGAN.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python benchmarks/sam_faces.py --num 6 --out /tmp/sam_faces

The loss uses the preview at 128 px. PSNR and LPIPS (AlexNet) use the full image at 1024 px, drawn
from the stored state and downsampled to the 256 px of the crop. `sam` needs the predictor named by
`--invertibility` and is skipped without one. `classes` needs only a segmenter: regions outside the
face go into the finest space, or F6. Bytes are the compressed state of an image in addition to its
latent; times are CPU seconds per image, without drawing. `--out` writes a contact sheet with the
crops, one row per arm, and the maps of the chosen spaces.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmarks.compare.domains import demo_crops, folder_crops
from invertory.generators import Generator
from invertory.generators.f_space import default_spaces
from invertory.generators.state import pack
from invertory.images import to_uint8
from invertory.inversion import Inversion
from invertory.inversion.drawing import draw_latents
from invertory.inversion.sam.optimisation import SpatiallyAdaptive
from invertory.metrics.pixel import psnr_db
from invertory.perceptual import Lpips
from invertory.pipelines.networks.load import load_generator, load_method_networks, load_perceptual
from invertory.pipelines.recipe.recipe import Recipe
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.models import ModelStore

HEADER: Final = "| spaces | PSNR dB | LPIPS | CPU s | bytes |\n|---|---|---|---|---|"


@dataclass(frozen=True)
class Bench:
    generator: Generator
    perceptual: Lpips
    networks: Mapping[str, nn.Module]
    targets: Tensor  # [N, 3, 256, 256]
    batch_size: int

    def row(self, name: str, method: SpatiallyAdaptive) -> tuple[str, Tensor, Inversion]:
        """One row of the table, the images [N, 3, 256, 256], and the inversion."""
        n, start = len(self.targets), time.process_time()
        found = method.invert(
            self.generator,
            self.targets,
            seeds=range(n),
            perceptual=self.perceptual,
            batch_size=self.batch_size,
            networks={kind: self.networks[kind] for kind in method.needs},
        )
        seconds = (time.process_time() - start) / n
        made = torch.cat([self._drawn(method, found, i) for i in range(n)])
        fa, fb = self.perceptual.features(made), self.perceptual.features(self.targets)
        means = [
            psnr_db(made, self.targets),
            self.perceptual.distance(fa, fb),
            torch.tensor([float(_stored(found, i)) for i in range(n)]),
        ]
        places = zip(means, (2, 3, 0), strict=True)
        psnr, lpips, size = (f"{float(x.mean()):.{place}f}" for x, place in places)
        return f"| {name} | {psnr} | {lpips} | {seconds:.1f} | {size} |", made, found

    @torch.no_grad()
    def _drawn(self, method: SpatiallyAdaptive, found: Inversion, row: int) -> Tensor:
        state = {name: tensor[row : row + 1] for name, tensor in found.state.items()}
        made = draw_latents(method, self.generator, found.latents[row : row + 1], state)
        return _reduced(made.clamp(-1, 1), self.targets.shape[-1])


def arms(bench: Bench, how: Mapping[str, Any]) -> dict[str, SpatiallyAdaptive]:
    """The choices whose networks are available, then each space only."""
    found: dict[str, SpatiallyAdaptive] = {}
    if "invertibility" in bench.networks:
        found["sam"] = SpatiallyAdaptive(**how)
        found["pixels"] = SpatiallyAdaptive(choice="pixels", **how)
    found["classes"] = SpatiallyAdaptive(choice="classes", **how)
    found["classes F6"] = SpatiallyAdaptive(
        choice="classes", class_spaces={"background": "F6"}, **how
    )
    for space in default_spaces(bench.generator):
        found[space] = SpatiallyAdaptive(spaces=(space,), **how)
    return found


def _stored(found: Inversion, row: int) -> int:
    if not found.state:
        return 0
    return len(pa.compress(pack(found.state, row), codec="zstd", asbytes=True))


def _reduced(x: Tensor, px: int) -> Tensor:
    return x if x.shape[-1] == px else interpolate(x, size=(px, px), mode="area")


def _bench(num: int, crops: Path | None, invertibility: str, batch_size: int) -> Bench:
    models = ModelStore()
    recipe = Recipe.model_validate(
        {
            "name": "sam_faces",
            "collection": {"uri": "demo://photographs"},
            "generator": {"name": "mobile_stylegan"},
            "perceptual": {"name": "lpips_alex"},
            # The networks of this choice are those that all arms share.
            "methods": {"sam": {"choice": "classes"}},
        }
    )
    networks = load_method_networks(recipe, "sam", models)
    if invertibility:
        weights, card = fetch_network(invertibility, models)
        networks["invertibility"] = load_network(weights, card=card)
    found = folder_crops(crops) if crops else demo_crops(models)
    return Bench(
        generator=load_generator(recipe, models),
        perceptual=load_perceptual(recipe, models),
        networks=networks,
        targets=torch.cat(found[:num]),
        batch_size=batch_size,
    )


def _sheet(lines: list[Tensor]) -> Image.Image:
    rows = [torch.cat(list(line), 2) for line in lines]
    return Image.fromarray(to_uint8(torch.cat(rows, 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--num", type=int, default=6, help="photographs")
    parser.add_argument(
        "--crops", type=Path, help="folder of aligned crops (default: the photographs of the demo)"
    )
    parser.add_argument("--invertibility", default="", help="trained://faces_invertibility")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--only", nargs="+", help="optimisation steps of each arm")
    parser.add_argument("--out", type=Path, help="folder of the contact sheet")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = _bench(args.num, args.crops, args.invertibility, args.batch_size)
    how = {"steps": args.steps, "preview": True, "precision": args.precision}
    how |= {"schedule": "ramp"}
    lines = [bench.targets]
    print(f"n = {len(bench.targets)}, {args.steps} steps\n{HEADER}")
    for name, method in arms(bench, how).items():
        if args.only and name not in args.only:
            continue
        line, made, found = bench.row(name, method)
        print(line, flush=True)
        maps = [_map(found, kind, bench.targets.shape[-1]) for kind in found.maps]
        lines += [made, *maps]
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            _sheet(lines).save(args.out / "sheet.png")


def _map(found: Inversion, kind: str, px: int) -> Tensor:
    """[N, 3, px, px] in [-1, 1]."""
    grey = interpolate(found.maps[kind], size=(px, px), mode="nearest-exact")
    return (2 * grey - 1).expand(-1, 3, -1, -1)


if __name__ == "__main__":
    main()
