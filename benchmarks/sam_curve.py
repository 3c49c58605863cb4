"""Spatially-adaptive inversion (SAM) on held-out portraits: loss over time, and ablations.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python -m benchmarks.sam_curve --num 16 --plot docs/sam_curve.svg

Figure 4.1 of Parmar et al. 2022 for portraits: `sam` against W+ only and each F-space only at
several budgets, and against other methods (`--methods`, names in METHODS) with the same total
number of steps or a single pass; then the ablations of section 4.6 at `--ablate-at` steps. Half of
the portraits show an object that the generator has never seen.

The loss is the mean squared error plus the distance in the features of the classifier, of images
drawn from the stored state. Bytes are the compressed state of an image, times CPU seconds per
image. The edit adds the difference between the mean latents of smiling and other samples: `smile`
is the increase of the classifier's logit, `by 3.4` the same for edits drawn as in section 3.4
(preset "paper"), and `kept` the PSNR between the edited image and the target inside the object's
true mask.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa
import torch
from torch import Tensor, nn

from benchmarks.compare.budgets import PORTRAITS
from benchmarks.sam_report import HEADER, Row, plot
from invertory.generators import Generator
from invertory.generators.f_space import default_spaces
from invertory.generators.state import pack
from invertory.images import to_tensor
from invertory.inversion import METHODS, Inversion, Method
from invertory.inversion.drawing import draw_latents
from invertory.inversion.sam.choice import SpaceChoiceConfig
from invertory.inversion.sam.optimisation import SpatiallyAdaptive
from invertory.metrics.pixel import psnr_db
from invertory.networks.classifier import AttributeClassifier
from invertory.perceptual import FeatureDistance
from invertory.portraits import SEGMENTS, World, draw, render, row_seed
from invertory.resources.checkpoints import fetch_network, load_network
from invertory.resources.models import ModelStore

HELD_OUT_SEED = 90_002  # of collections that no training uses
DRAWS = 1500  # samples that define the edit
OTHERS: Final = ("hybrid", "pti", "e4e", "restyle", "sam_encoder")
NETWORKS: Final = {"encoder": "domain_guided_encoder"}  # kind => name, where they differ


@dataclass(frozen=True)
class Bench:
    generator: Generator
    classifier: AttributeClassifier
    networks: dict[str, nn.Module]
    targets: Tensor  # [N, 3, H, H], the first half plain
    objects: Tensor  # bool [N, H, H]

    @property
    def perceptual(self) -> FeatureDistance:
        return FeatureDistance(self.classifier, "features", size_px=self.classifier.size_px)

    def row(self, name: str, method: Method, steps: int, direction: Tensor) -> Row:
        if not steps:
            self._inverted(method)  # warm-up: loading kernels takes longer than one pass
        n, start = len(self.targets), time.process_time()
        found = self._inverted(method)
        seconds = (time.process_time() - start) / n
        synth = self._drawn(method, found, torch.zeros_like(direction))
        edited = self._drawn(method, found, direction)
        strictly = self._drawn(_strict(method), found, direction)
        before, after, strict = (self._smiles(x) for x in (synth, edited, strictly))
        psnr = psnr_db(synth, self.targets)
        error = (edited - self.targets).square().mean(1)
        kept = [error[i][self.objects[i]].mean() for i in range(n // 2, n)]
        return Row(
            name=name,
            steps=steps,
            loss=self._loss(synth),
            plain_db=float(psnr[: n // 2].mean()),
            object_db=float(psnr[n // 2 :].mean()),
            seconds=seconds,
            num_bytes=sum(_stored(found, i) for i in range(n)) / n,
            smile=float((after - before).mean()),
            strict_smile=float((strict - before).mean()),
            kept_db=float(-10 * (torch.stack(kept) / 4).log10().mean()),
        )

    def _inverted(self, method: Method) -> Inversion:
        return method.invert(
            self.generator,
            self.targets,
            seeds=range(len(self.targets)),
            perceptual=self.perceptual,
            batch_size=len(self.targets),
            networks={kind: self.networks[kind] for kind in _needs(method)},
        )

    @torch.no_grad()
    def _drawn(self, method: Method, found: Inversion, move: Tensor) -> Tensor:
        origin = found.latents.expand(-1, self.generator.num_ws, -1)
        networks = {kind: self.networks[kind] for kind in _needs(method)}
        w_plus = origin + move
        made = draw_latents(
            method, self.generator, w_plus, found.state, origin=origin, networks=networks
        )
        return made.float().clamp(-1, 1)

    @torch.no_grad()
    def _loss(self, synth: Tensor) -> float:
        distance = self.perceptual.distance(
            *(self.perceptual.features(x) for x in (synth, self.targets))
        )
        return float(distance.mean() + (synth - self.targets).square().mean())

    @torch.no_grad()
    def _smiles(self, images: Tensor) -> Tensor:
        """Logits [N] of the attribute `smile`."""
        logits: Tensor = self.classifier(images)
        return logits[:, self._smile]

    @property
    def _smile(self) -> int:
        return self.classifier.attributes.index("smile")

    @torch.no_grad()
    def direction(self) -> Tensor:
        """[w_dim]: the mean of smiling samples less that of the others."""
        rng = torch.Generator().manual_seed(0)
        w = self.generator.mapping(torch.randn(DRAWS, self.generator.z_dim, generator=rng))
        rows = [part[:, None].expand(-1, self.generator.num_ws, -1) for part in torch.split(w, 64)]
        logits = torch.cat([self.classifier(self.generator.synthesis(part)) for part in rows])
        is_smiling = logits[:, self._smile] > 0
        return w[is_smiling].mean(0) - w[~is_smiling].mean(0)


def curve(bench: Bench, budgets: Sequence[int], direction: Tensor) -> Iterator[Row]:
    """Arms of figure 4.1 without other methods, and the trade-off of figure 3.2."""
    for name in ("sam", *default_spaces(bench.generator)):
        spaces = () if name == "sam" else (name,)
        for steps in budgets:
            method = SpatiallyAdaptive(spaces=spaces, steps=steps, precision="bfloat16")
            yield bench.row(name, method, steps, direction)


def others(
    bench: Bench, names: Sequence[str], budgets: Sequence[int], direction: Tensor
) -> Iterator[Row]:
    """The other methods of figure 4.1 at every budget, one row each for a single pass."""
    for name in names:
        is_one_pass = METHODS[name].kind == "feed_forward"
        for steps in (0,) if is_one_pass else budgets:
            yield bench.row(name, method_at(name, steps), steps, direction)


def method_at(name: str, steps: int) -> Method:
    """The method as in `make compare` with `steps` in total; 0 means a single pass."""
    if name == "pti":
        pivot = steps // 2
        return PORTRAITS.arm(name, pivot_steps=pivot, steps=steps - pivot).build()
    return PORTRAITS.arm(name, **({"steps": steps} if steps else {})).build()


def ablations(bench: Bench, steps: int, direction: Tensor) -> Iterator[Row]:
    """The ablations of section 4.6, and edits drawn exactly as in section 3.4."""
    whole = SpatiallyAdaptive(steps=steps, precision="bfloat16")
    changes: dict[str, Mapping[str, Any]] = {
        "sam": {},
        "no feature term": {"delta_weight": 0.0},  # section 4.6: without eq. 3.7
        "no regulariser": PORTRAITS.ablations["sam, no regulariser"].changes,
        "no refinement": {"choice": "pixels"},
        "class map": {"choice": "classes"},
        "preset paper": {"preset": "paper"},
        "half tau": {"tau": 0.5 * whole.tau},
        "twice tau": {"tau": 2 * whole.tau},
    }
    for name, change in changes.items():
        yield bench.row(name, replace(whole, **change), steps, direction)


def _strict(method: Method) -> Method:
    """The method with edits as in section 3.4, if it has two ways."""
    return replace(method, preset="paper") if isinstance(method, SpaceChoiceConfig) else method


def _needs(method: Method) -> tuple[str, ...]:
    """The kinds of networks that the method needs."""
    return tuple(getattr(method, "needs", ()))


def _stored(found: Inversion, row: int) -> int:
    if not found.state:
        return 0
    return len(pa.compress(pack(found.state, row), codec="zstd", asbytes=True))


def _network(name: str, where: str, models: ModelStore) -> nn.Module:
    try:
        weights, card = fetch_network(f"{where}portraits_{name}", models)
    except (OSError, ValueError) as error:
        raise SystemExit(f"{error}; train it with `invertory train portraits_{name}`") from error
    return load_network(weights, card=card)


def _bench(num: int, where: str, names: Sequence[str], models: ModelStore) -> Bench:
    """Portraits, half of them with objects, and the networks of SAM and of the named methods."""
    worlds = [World() if i < num // 2 else World(ood=1.0) for i in range(num)]
    made = [render(draw(row_seed(HELD_OUT_SEED, i), world), 64) for i, world in enumerate(worlds)]
    segments = torch.stack([torch.from_numpy(one.segmentation) for one in made])
    taking_part = [SpatiallyAdaptive(), *(PORTRAITS.arm(name).build() for name in names)]
    kinds = dict.fromkeys(kind for method in taking_part for kind in _needs(method))
    return Bench(
        generator=cast("Generator", _network("generator", where, models)),
        classifier=cast("AttributeClassifier", _network("classifier", where, models)),
        networks={kind: _network(NETWORKS.get(kind, kind), where, models) for kind in kinds},
        targets=to_tensor([one.image for one in made]),
        objects=segments == SEGMENTS.index("ood"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--networks", default="bundled://", help="bundled:// or trained://")
    parser.add_argument(
        "--methods", nargs="*", default=OTHERS, choices=list(METHODS), metavar="WORD",
        help=f"methods to compare with, names in METHODS ({', '.join(OTHERS)})",
    )  # fmt: skip
    parser.add_argument("--num", type=int, default=16, help="portraits, half of them with objects")
    parser.add_argument("--budgets", type=int, nargs="+", default=[12, 25, 50, 100])
    parser.add_argument("--ablate-at", type=int, default=50, help="steps of the ablations")
    parser.add_argument("--plot", type=Path, help="also write the curve as SVG")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bench = _bench(args.num, args.networks, args.methods, ModelStore())
    direction = bench.direction()
    print(f"n = {args.num}\n{HEADER}")
    rows = []
    beside = others(bench, args.methods, args.budgets, direction)
    for row in chain(curve(bench, args.budgets, direction), beside):
        rows.append(row)
        print(row, flush=True)
    for row in ablations(bench, args.ablate_at, direction):
        print(row, flush=True)
    if args.plot:
        args.plot.write_text(plot(rows))


if __name__ == "__main__":
    main()
