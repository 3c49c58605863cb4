"""SAMM's table 3 on held-out portraits with foreign objects whose true masks are known.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python benchmarks/samm_ablations.py --num 128

The rows are: trained without alignment (`invertory train portraits_samm_unaligned`); trained with
alignment but skipping it; and 1, 2 and 3 cycles of the same network. SAMM over other base encoders
follows, each after the base without SAMM; then the flows (see invertory/networks/samm/figures.py)
and the masks by kind of object. Images are drawn from the stored state; values are means over
images +- the standard deviation. `chance` is the IoU of a random mask of the same area. Times are
seconds per image of `invert`: CPU time with one thread, otherwise wall time.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from invertory.images import to_tensor
from invertory.inversion import METHODS
from invertory.inversion.drawing import draw_latents
from invertory.inversion.in_domain.domain_guided_encoder import DomainGuidedEncoder
from invertory.inversion.samm.method import SAMM
from invertory.metrics.ood_masks import (
    by_kind,
    chance_iou,
    mask_iou,
    ood_area,
    pooled_iou,
    soft_iou,
)
from invertory.metrics.pixel import psnr_db
from invertory.metrics.ssim import ssim
from invertory.networks.samm.figures import alignment_figures
from invertory.perceptual import FeatureDistance
from invertory.portraits import SEGMENTS, World, draw, render, row_seed
from invertory.portraits.attributes import OOD_KINDS
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.models import ModelStore

if TYPE_CHECKING:
    from invertory.generators import Generator
    from invertory.inversion import Inversion, Method

HELD_OUT_SEED = 90_002  # of collections that no training uses
ALIKE = ("step_cosine", "step_ratio")
CYCLES = (1, 2, 3)
BASES = {"e4e": 1, "psp": 1, "restyle": 5}  # kind of the network => iterations
HEADER = """\
| method | PSNR dB | SSIM | perceptual | OOD area % | IoU | soft IoU | pooled | chance | s |
|---|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Bench:
    generator: Generator
    perceptual: FeatureDistance
    networks: dict[str, nn.Module]
    targets: Tensor  # [N, 3, R, R]
    truth: Tensor  # [N, 1, R, R], 1: foreign
    kinds: dict[str, Tensor]  # [N] bool
    batch_size: int
    is_cpu_time: bool

    def invert(self, method: Method, networks: dict[str, nn.Module]) -> tuple[Inversion, float]:
        """The inversion, and its seconds per image."""
        clock = time.process_time if self.is_cpu_time else time.perf_counter
        start = clock()
        found = method.invert(
            self.generator,
            self.targets,
            seeds=range(len(self.targets)),
            perceptual=self.perceptual,
            batch_size=self.batch_size,
            networks={kind: networks[kind] for kind in method.needs},
        )
        return found, (clock() - start) / len(self.targets)

    @torch.no_grad()
    def row(self, name: str, method: Method, **networks: nn.Module) -> Tensor | None:
        """Print one row of the table => the masks, if the method has any."""
        nets = self.networks | networks
        found, seconds = self.invert(method, nets)
        synth = self._drawn(method, found, nets)
        distance = torch.cat([self._distance(a, b) for a, b in self._pairs(synth)])
        cells = [
            _spread(psnr_db(synth, self.targets), 2),
            _spread(ssim(synth, self.targets), 3),
            _spread(distance, 3),
            *self._of_mask(found.maps.get("mask")),
            f"{seconds:.3f}",
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
        return found.maps.get("mask")

    def _drawn(self, method: Method, found: Inversion, nets: dict[str, nn.Module]) -> Tensor:
        made = []
        for rows in torch.split(torch.arange(len(self.targets)), self.batch_size):
            state = {name: tensor[rows] for name, tensor in found.state.items()}
            w_plus = found.latents[rows]
            made.append(draw_latents(method, self.generator, w_plus, state, networks=nets))
        return torch.cat(made).clamp(-1, 1)

    def _pairs(self, synth: Tensor) -> list[tuple[Tensor, Tensor]]:
        synths = torch.split(synth, self.batch_size)
        return list(zip(synths, torch.split(self.targets, self.batch_size), strict=True))

    def _distance(self, a: Tensor, b: Tensor) -> Tensor:
        return self.perceptual.distance(self.perceptual.features(a), self.perceptual.features(b))

    def _of_mask(self, mask: Tensor | None) -> list[str]:
        if mask is None:
            return ["-"] * 5
        area = ood_area(mask)
        return [
            _spread(100 * area, 1),
            _spread(mask_iou(mask, self.truth), 3),
            _spread(soft_iou(mask, self.truth), 3),
            f"{pooled_iou(mask, self.truth):.3f}",
            f"{chance_iou(float(area.mean()), float(self.truth.mean())):.3f}",
        ]

    @torch.no_grad()
    def print_flows(self, cycles: tuple[int, ...]) -> None:
        """Print figures of the flows, which show whether alignment works, per number of cycles."""
        encoder, samm = (cast("Any", self.networks[name]) for name in ("encoder", "samm"))
        w_plus, taps = encoder.tapped(self.targets)
        w_plus = w_plus.expand(-1, self.generator.num_ws, -1)
        print("\n| SAMM | flows at the limit % | second step: cosine | its length |")
        print("|---|---|---|---|")
        for n in cycles:
            flows = alignment_figures(samm.align(self.generator, w_plus, taps, cycles=n))
            alike = [f"{float(flows[k]):.2f}" if k in flows else "-" for k in ALIKE]
            print(
                f"| N = {n} | {100 * float(flows['flow_saturation']):.0f} | {' | '.join(alike)} |"
            )

    def print_kinds(self, mask: Tensor) -> None:
        """Print the quality of the masks by kind of object."""
        shares = {
            "OOD area %": by_kind(100 * ood_area(mask), self.kinds),
            "true area %": by_kind(100 * ood_area(self.truth), self.kinds),
            "IoU": by_kind(mask_iou(mask, self.truth), self.kinds),
            "soft IoU": by_kind(soft_iou(mask, self.truth), self.kinds),
        }
        print("\n| object | n | " + " | ".join(shares) + " |\n|---|---|" + "---|" * len(shares))
        for kind in self.kinds:
            cells = " | ".join(f"{share[kind].mean:.3f}" for share in shares.values())
            print(f"| {kind} | {shares['IoU'][kind].num} | {cells} |")


def _spread(values: Tensor, digits: int) -> str:
    kept = values.double()[~values.isnan()]
    return f"{float(kept.mean()):.{digits}f} +- {float(kept.std()):.{digits}f}"


def portraits(num: int, size_px: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Held-out images, their true masks, and the kinds of objects that each image shows."""
    drawings = [draw(row_seed(HELD_OUT_SEED, i), World(ood=1.0)) for i in range(num)]
    rendered = [render(portrait, size_px) for portrait in drawings]
    segments = torch.from_numpy(np.stack([one.segmentation for one in rendered]))
    truth = (segments == SEGMENTS.index("ood"))[:, None].float()
    kinds = {k: torch.tensor([bool(one.attributes[k]) for one in drawings]) for k in OOD_KINDS}
    return to_tensor([one.image for one in rendered]), truth, kinds


def measure(bench: Bench, unaligned: nn.Module | None) -> None:
    samm = SAMM()
    print(HEADER)
    bench.row("encoder alone", cast("Method", DomainGuidedEncoder()))
    if unaligned is None:
        print("| without alignment | train it: invertory train portraits_samm_unaligned |")
    else:
        bench.row("without alignment, N = 2", replace(samm, cycles=2), samm=unaligned)
    bench.row("alignment skipped, N = 2", replace(samm, cycles=2, alignment="skipped"))
    masks = {n: bench.row(f"SAMM, N = {n}", replace(samm, cycles=n)) for n in CYCLES}
    for base, iterations in BASES.items():
        over_base(bench, base, iterations)
    bench.print_flows(CYCLES)
    if (mask := masks[2]) is not None:
        bench.print_kinds(mask)


def over_base(bench: Bench, base: Any, iterations: int) -> None:
    """Two rows: another base encoder alone, and SAMM over it, N = 2."""
    network = bench.networks.get(base)
    if network is None:
        print(f"| SAMM over {base} | no network of that kind; name one with --{base} |")
        return
    many = {"iterations": iterations} if iterations > 1 else {}
    bench.row(f"{base} alone", METHODS[base](**many))
    samm = SAMM(base=base, iterations=iterations, cycles=2)
    bench.row(f"SAMM over {base}" + f" x{iterations}" * bool(many), samm)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--generator", default="bundled://portraits_generator")
    parser.add_argument("--encoder", default="bundled://portraits_domain_guided_encoder")
    parser.add_argument("--samm", default="bundled://portraits_samm")
    parser.add_argument("--unaligned", default="trained://portraits_samm_unaligned")
    for base in BASES:
        address = f"bundled://portraits_{base}"
        parser.add_argument(f"--{base}", default=address, help="address; empty to skip it")
    parser.add_argument("--features", default="bundled://portraits_classifier")
    parser.add_argument("--num", type=int, default=128, help="number of images")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    names, models = ("generator", "encoder", "samm", *BASES), ModelStore()
    nets = {name: _network(at, models) for name in names if (at := getattr(args, name))}
    generator: Any = nets.pop("generator")
    judge: Any = _network(args.features, models)
    bench = Bench(
        generator,
        FeatureDistance(judge, "features", size_px=judge.size_px),
        nets,
        *portraits(args.num, generator.resolution),
        batch_size=args.batch,
        is_cpu_time=args.threads == 1,
    )
    try:
        unaligned = _network(args.unaligned, models)
    except (OSError, ValueError):
        unaligned = None
    with torch.no_grad():
        measure(bench, unaligned)


def _network(uri: str, models: ModelStore) -> nn.Module:
    weights, card = fetch_network(uri, models)
    return load_network(weights, card=card)


if __name__ == "__main__":
    main()
