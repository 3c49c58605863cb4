"""Spatially-adaptive inversion on held-out portraits: loss over time, and its ablations.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python benchmarks/sam_curve.py --num 16 --plot docs/sam_curve.svg

Fig. 4.1 of Parmar et al. 2022 for the portraits: `sam` beside W+ alone and every F-space alone, at
several budgets; then, at `--ablate-at` steps, its ablations (section 4.6). Half of the portraits
have an object that the generator never saw. Loss is mean square and distance in the classifier's
features; bytes are a picture's state as the store compresses it; times are CPU seconds a picture.
An edit makes them smile by the difference of the mean latents of smiling and other draws: `smile`
is by how much the classifier's logit rises, and `kept` is the PSNR of the edited picture inside the
object's true mask, against the photograph.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import torch
from torch import Tensor, nn

from invertory.classifier import AttributeClassifier
from invertory.generators import Generator
from invertory.generators.f_space import default_spaces
from invertory.generators.state import pack
from invertory.images import to_tensor
from invertory.inversion import Inversion
from invertory.inversion.drawing import drawn
from invertory.inversion.sam import SpatiallyAdaptive
from invertory.metrics.pixel import psnr_db
from invertory.perceptual import FeatureDistance
from invertory.portraits import SEGMENTS, World, draw, render, row_seed
from resources.checkpoints import fetch_network, load_network
from resources.models import ModelStore

HELD_OUT_SEED = 90_002  # of collections that no training has
DRAWS = 1500  # latents behind the edit
COLOURS = ("#111111", "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7")
HEADER = """\
| spaces | steps | loss | PSNR plain | PSNR object | CPU s | bytes | smile | kept dB |
|---|---|---|---|---|---|---|---|---|"""


@dataclass(frozen=True)
class Row:
    """What a method came to at a budget; means over pictures."""

    name: str
    steps: int
    loss: float
    plain_db: float
    object_db: float
    seconds: float
    num_bytes: float
    smile: float
    kept_db: float

    def __str__(self) -> str:
        return (
            f"| {self.name} | {self.steps} | {self.loss:.3f} | {self.plain_db:.2f} | "
            f"{self.object_db:.2f} | {self.seconds:.2f} | {self.num_bytes:.0f} | "
            f"{self.smile:+.2f} | {self.kept_db:.2f} |"
        )


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

    def row(self, name: str, method: SpatiallyAdaptive, direction: Tensor) -> Row:
        n, start = len(self.targets), time.process_time()
        found = method.invert(
            self.generator,
            self.targets,
            seeds=range(n),
            perceptual=self.perceptual,
            batch_size=n,
            networks={kind: self.networks[kind] for kind in method.needs},
        )
        seconds = (time.process_time() - start) / n
        synth = self._drawn(method, found, torch.zeros_like(direction))
        edited = self._drawn(method, found, direction)
        scores = [self.classifier(x)[:, self._smile] for x in (synth, edited)]
        psnr = psnr_db(synth, self.targets)
        error = (edited - self.targets).square().mean(1)
        kept = [error[i][self.objects[i]].mean() for i in range(n // 2, n)]
        return Row(
            name=name,
            steps=method.steps,
            loss=float((found.terms["mse"] + found.terms["perceptual"]).mean()),
            plain_db=float(psnr[: n // 2].mean()),
            object_db=float(psnr[n // 2 :].mean()),
            seconds=seconds,
            num_bytes=sum(_stored(found, i) for i in range(n)) / n,
            smile=float((scores[1] - scores[0]).mean()),
            kept_db=float(-10 * (torch.stack(kept) / 4).log10().mean()),
        )

    @torch.no_grad()
    def _drawn(self, method: SpatiallyAdaptive, found: Inversion, move: Tensor) -> Tensor:
        origin = found.latents
        made = drawn(method, self.generator, origin + move, found.state, origin=origin)
        return made.clamp(-1, 1)

    @property
    def _smile(self) -> int:
        return self.classifier.attributes.index("smile")

    @torch.no_grad()
    def direction(self) -> Tensor:
        """[w_dim]: from the mean of draws that do not smile to that of those that do."""
        rng = torch.Generator().manual_seed(0)
        w = self.generator.mapping(torch.randn(DRAWS, self.generator.z_dim, generator=rng))
        rows = [part[:, None].expand(-1, self.generator.num_ws, -1) for part in torch.split(w, 64)]
        logits = torch.cat([self.classifier(self.generator.synthesis(part)) for part in rows])
        is_smiling = logits[:, self._smile] > 0
        return w[is_smiling].mean(0) - w[~is_smiling].mean(0)


def curve(bench: Bench, budgets: Sequence[int], direction: Tensor) -> Iterator[Row]:
    """Fig. 4.1, and its trade-off (Fig. 3.2)."""
    for name in ("sam", *default_spaces(bench.generator)):
        spaces = () if name == "sam" else (name,)
        for steps in budgets:
            method = SpatiallyAdaptive(spaces=spaces, steps=steps, precision="bf16")
            yield bench.row(name, method, direction)


def ablations(bench: Bench, steps: int, direction: Tensor) -> Iterator[Row]:
    """Section 4.6, and edits by the letter of section 3.4."""
    whole = SpatiallyAdaptive(steps=steps, precision="bf16")
    changes: dict[str, dict[str, Any]] = {
        "sam": {},
        "no regulariser": {"delta_weight": 0.0},
        "no refinement": {"choice": "pixels"},
        "class map": {"choice": "classes"},
        "preset paper": {"preset": "paper"},
        "half tau": {"tau": 0.5 * whole.tau},
        "twice tau": {"tau": 2 * whole.tau},
    }
    for name, change in changes.items():
        yield bench.row(name, replace(whole, **change), direction)


def plot(rows: Sequence[Row]) -> str:
    """Loss over CPU seconds, both on logarithmic axes, as SVG."""
    width, height, edge = 640, 400, 60
    logs = torch.tensor([[row.seconds, row.loss] for row in rows]).log10()
    low, high = logs.amin(0), logs.amax(0)
    place = (logs - low) / (high - low).clamp_min(1e-9)
    x = edge + place[:, 0] * (width - 2 * edge - 60)
    y = height - edge - place[:, 1] * (height - 2 * edge)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{edge}" y="{height - 18}">CPU seconds a picture, {10 ** float(low[0]):.2f} to '
        f"{10 ** float(high[0]):.2f} (log)</text>",
        f'<text x="{edge}" y="30">loss, {10 ** float(low[1]):.2f} to {10 ** float(high[1]):.2f} '
        "(log)</text>",
    ]
    for k, name in enumerate(dict.fromkeys(row.name for row in rows)):
        own = [i for i, row in enumerate(rows) if row.name == name]
        colour = COLOURS[k % len(COLOURS)]
        points = " ".join(f"{x[i]:.1f},{y[i]:.1f}" for i in own)
        thick = 3 if name == "sam" else 1.5
        right, level = float(x[own[-1]]) + 6, float(y[own[-1]]) + 4
        parts += [
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{thick}"/>',
            f'<text x="{right:.1f}" y="{level:.1f}" fill="{colour}">{name}</text>',
        ]
    return "\n".join([*parts, "</svg>\n"])


def _stored(found: Inversion, row: int) -> int:
    if not found.state:
        return 0
    return len(pa.compress(pack(found.state, row), codec="zstd", asbytes=True))


def _network(name: str, where: str) -> nn.Module:
    try:
        weights, card = fetch_network(f"{where}portraits_{name}", ModelStore())
    except (OSError, ValueError) as error:
        raise SystemExit(f"{error}; `invertory train portraits_{name}` makes it") from error
    return load_network(weights, card=card)


def _bench(num: int, where: str) -> Bench:
    """Half plain portraits, half with objects."""
    worlds = [World() if i < num // 2 else World(ood=1.0) for i in range(num)]
    made = [render(draw(row_seed(HELD_OUT_SEED, i), world), 64) for i, world in enumerate(worlds)]
    segments = torch.stack([torch.from_numpy(one.segmentation) for one in made])
    kinds = {"encoder": "domain_guided_encoder", "parser": "parser"}
    return Bench(
        generator=cast("Generator", _network("generator", where)),
        classifier=cast("AttributeClassifier", _network("classifier", where)),
        networks={kind: _network(name, where) for kind, name in kinds.items()}
        | {"invertibility": _network("invertibility", where)},
        targets=to_tensor([one.picture for one in made]),
        objects=segments == SEGMENTS.index("ood"),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--networks", default="bundled://", help="bundled:// or trained://")
    parser.add_argument("--num", type=int, default=16, help="portraits, half of them with objects")
    parser.add_argument("--budgets", type=int, nargs="+", default=[12, 25, 50, 100])
    parser.add_argument("--ablate-at", type=int, default=50, help="steps of the ablations")
    parser.add_argument("--plot", type=Path, help="also write the curve as SVG")
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    bench = _bench(asked.num, asked.networks)
    direction = bench.direction()
    print(f"n = {asked.num}\n{HEADER}")
    rows = []
    for row in curve(bench, asked.budgets, direction):
        rows.append(row)
        print(row, flush=True)
    for row in ablations(bench, asked.ablate_at, direction):
        print(row, flush=True)
    if asked.plot:
        asked.plot.write_text(plot(rows))


if __name__ == "__main__":
    main()
