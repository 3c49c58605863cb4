"""Pivotal tuning on held-out portraits: size and loss of each way to store the tuned weights.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python benchmarks/pti_storage.py --generator bundled://portraits_generator --num 6

All rows share the same pivots. `all weights` are tuned once, one image at a time, then stored in
full or cut to a lower rank, as float16 or int8; low-rank updates are tuned once per rank, all
images together. Times are CPU seconds per image for the tuning only. The loss is LPIPS (AlexNet)
plus the mean squared error, as published, but without the stop at LPIPS 0.06, so that all rows take
the same number of steps. `others` shows how far the tuning changes other latents: the PSNR of their
images against those of the untuned generator.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from invertory.generators.deltas import quantise, truncate_all
from invertory.generators.state import pack, synthesise
from invertory.images import to_tensor
from invertory.inversion import Inversion, Method
from invertory.inversion.pti.method import PivotalTuning
from invertory.metrics.pixel import psnr_db
from invertory.perceptual import Lpips, Perceptual
from invertory.portraits import draw, render, row_seed
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

if TYPE_CHECKING:
    from invertory.generators import Generator

HELD_OUT_SEED = 90_001  # of collections that no training uses
OTHERS = 4  # other latents, see `others`
HEADER = """\
| form | bytes per image | PSNR dB | LPIPS | others dB | CPU s per image |
|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Bench:
    generator: Generator
    perceptual: Perceptual
    targets: Tensor

    def invert(self, method: Method) -> Inversion:
        return method.invert(
            self.generator,
            self.targets,
            seeds=range(len(self.targets)),
            perceptual=self.perceptual,
            batch_size=len(self.targets),
        )

    @torch.no_grad()
    def row(self, name: str, pivots: Tensor, state: Mapping[str, Tensor], seconds: float) -> str:
        """One row of the table, for the images decoded from the stored bytes."""
        w_plus = pivots.expand(-1, self.generator.num_ws, -1)
        synth = synthesise(self.generator, w_plus, state).clamp(-1, 1)
        features = [self.perceptual.features(x) for x in (synth, self.targets)]
        lpips = self.perceptual.distance(*features).mean()
        num_bytes = len(pack(state, 0)) if state else 0
        psnr = psnr_db(synth, self.targets).mean()
        others = f"{self._others_db(state):.1f}" if state else "-"
        return f"| {name} | {num_bytes} | {psnr:.2f} | {lpips:.4f} | {others} | {seconds:.1f} |"

    def _others_db(self, state: Mapping[str, Tensor]) -> float:
        """PSNR of other latents before and after tuning, averaged over draws and images."""
        rng, n = torch.Generator().manual_seed(0), len(self.targets)
        w = self.generator.mapping(torch.randn(OTHERS, self.generator.z_dim, generator=rng))
        found = []
        for row in w:
            w_plus = row.expand(n, self.generator.num_ws, -1)
            before = self.generator.synthesis(w_plus).clamp(-1, 1)
            found.append(psnr_db(synthesise(self.generator, w_plus, state).clamp(-1, 1), before))
        return float(torch.stack(found).mean())


class _Found:
    """A method that returns given pivots."""

    def __init__(self, pivots: Inversion) -> None:
        self.pivots = pivots

    def invert(self, *_: object, **__: object) -> Inversion:
        return self.pivots


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tuned(PivotalTuning):
    """Pivotal tuning that starts from given pivots."""

    found: Inversion

    def pivot_method(self) -> Method:
        return cast("Method", _Found(self.found))


def forms(state: Mapping[str, Tensor], ranks: list[int]) -> dict[str, dict[str, Tensor]]:
    """The changes of all weights in each form of storage."""
    found = {"all weights, float16": dict(state), "all weights, int8": quantise(state)}
    for rank in ranks:
        short = truncate_all(state, rank)
        found[f"all weights, cut to rank {rank}, float16"] = {n: t.half() for n, t in short.items()}
        found[f"all weights, cut to rank {rank}, int8"] = quantise(short)
    return found


def measure(bench: Bench, method: PivotalTuning, ranks: list[int]) -> None:
    pivots = bench.invert(method.pivot_method())
    print(HEADER)
    print(bench.row("pivot alone", pivots.latents, {}, 0.0), flush=True)
    settings = {own.name: getattr(method, own.name) for own in fields(method)}
    tuned = _Tuned(**settings, found=pivots)
    for rank in ranks:
        state, seconds = _timed(bench, replace(tuned, rank=rank))
        for name, kept in (("float16", state), ("int8", quantise(state))):
            print(bench.row(f"low rank {rank}, {name}", pivots.latents, kept, seconds), flush=True)
    state, seconds = _timed(bench, replace(tuned, rank=0))
    for name, kept in forms(state, ranks).items():
        print(bench.row(name, pivots.latents, kept, seconds), flush=True)


def _timed(bench: Bench, method: PivotalTuning) -> tuple[dict[str, Tensor], float]:
    start = time.process_time()
    state = bench.invert(method).state
    return state, (time.process_time() - start) / len(bench.targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--generator", default="bundled://portraits_generator")
    parser.add_argument("--num", type=int, default=6, help="number of images")
    parser.add_argument("--pivot-steps", type=int, default=100)
    parser.add_argument("--steps", type=int, default=350, help="of the tuning")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    models = ModelStore()
    weights, card = fetch_network(args.generator, models)
    generator = cast("Generator", load_network(weights, card=card))
    trunk = PINNED["lpips-alexnet"]
    lpips = Lpips("alex", Path(models.fetch(trunk.source, trunk.sha256)))
    size_px = generator.resolution
    drawn = [render(draw(row_seed(HELD_OUT_SEED, i)), size_px).image for i in range(args.num)]
    method = PivotalTuning(
        pivot_steps=args.pivot_steps,
        pivot_learning_rate=0.1,
        steps=args.steps,
        target_lpips=None,
        storage="float16",
        precision="bfloat16",
    )
    measure(Bench(generator, lpips, to_tensor(drawn)), method, args.ranks)


if __name__ == "__main__":
    main()
