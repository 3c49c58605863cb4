"""Fits the preview heads of MobileStyleGAN on images that it synthesises.

    python -m invertory.training.preview_head --random-face FOLDER --out HEAD.safetensors

Targets are 1024 px images, averaged down to the resolution of the head. Latents are, in turn, w,
truncated w (psi 0.6), two w crossed at a row, and w with every row shifted by 0.4 of another w's
offset from the mean, since inversions in W+ visit all of these. The last `--held-out` images are
held out, and the PSNR is theirs (peak 2).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import avg_pool2d, mse_loss

from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import PreviewHead, head_tensors, untrained_head

FILES = ("MappingNetwork.xml", "MappingNetwork.bin", "SynthesisNetwork.xml", "SynthesisNetwork.bin")
Measured = dict[str, dict[str, dict[str, float]]]  # px => kind of head => mean, worst, ...
LICENCE = (
    "The numbers are ours (Apache-2.0) but were fitted on outputs of weights that derive from "
    "NVIDIA's StyleGAN2-FFHQ (non-commercial) and FFHQ (CC BY-NC-SA 4.0), and are of no use "
    "without those weights: use them under the same terms."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Settings of a run; the defaults produced the bundled file."""

    resolutions: tuple[int, ...] = (64, 128)
    pictures: int = 112
    held_out: int = 24
    steps: int = 1000
    batch_size: int = 16  # crops
    crop_px: int = 32
    learning_rate: float = 2e-3  # decays linearly to 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Pairs:
    """Latents, the input features of the heads (float16), and the reduced images."""

    w_plus: Tensor  # [N, num_ws, w_dim]
    features: dict[int, Tensor]  # px => [N, C, px, px]
    images: Tensor  # [N, 3, px, px] at the finest head's px

    def targets(self, resolution: int) -> Tensor:
        return avg_pool2d(self.images, self.images.shape[2] // resolution)


def draw_latents(generator: MobileStyleGAN, count: int, rng: torch.Generator) -> Tensor:
    """[count, num_ws, w_dim]; the four kinds of the module docstring, in turn."""
    n = generator.num_ws
    drawn = []
    for i in range(count):
        w, other = generator.mapping(torch.randn(2, generator.z_dim, generator=rng))
        row = int(torch.randint(1, n, (), generator=rng))
        moves = generator.mapping(torch.randn(n, generator.z_dim, generator=rng)) - generator.w_avg
        kinds = (
            w.expand(n, -1),
            (generator.w_avg + 0.6 * (w - generator.w_avg)).expand(n, -1),
            torch.cat([w.expand(row, -1), other.expand(n - row, -1)]),
            w + 0.4 * moves,
        )
        drawn.append(kinds[i % 4])
    return torch.stack(drawn)


@torch.no_grad()
def draw_pairs(generator: MobileStyleGAN, settings: Settings) -> Pairs:
    """Synthesise images one by one: an image of 1024 px takes seconds and gigabytes."""
    rng = torch.Generator().manual_seed(settings.seed)
    w_plus = draw_latents(generator, settings.pictures + settings.held_out, rng)
    names = {px: f"b{px}" for px in settings.resolutions}
    features: dict[int, list[Tensor]] = {px: [] for px in names}
    shrink = generator.resolution // max(names)
    images = []
    for w in w_plus[:, None]:
        maps = generator.features(w, tuple(names.values()))
        for px, name in names.items():
            features[px].append(maps[name].half())
        images.append(avg_pool2d(generator.synthesis(w), shrink))
    return Pairs(w_plus, {px: torch.cat(f) for px, f in features.items()}, torch.cat(images))


def fit_head(
    generator: MobileStyleGAN, pairs: Pairs, resolution: int, settings: Settings
) -> PreviewHead:
    """Fit a head by Adam on the mean squared error of random crops (all kernels are 1x1)."""
    head = untrained_head(generator, resolution)
    optimiser = torch.optim.Adam(head.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, settings.steps)
    rng = torch.Generator().manual_seed(settings.seed)
    features, targets = pairs.features[resolution], pairs.targets(resolution)
    for _ in range(settings.steps):
        rows = torch.randint(settings.pictures, (settings.batch_size,), generator=rng)
        y, x = torch.randint(resolution - settings.crop_px + 1, (2,), generator=rng).tolist()
        crop = (rows, slice(None), slice(y, y + settings.crop_px), slice(x, x + settings.crop_px))
        loss = mse_loss(head(features[crop].float(), pairs.w_plus[rows], generator), targets[crop])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    return head


@torch.no_grad()
def held_out_psnr_db(
    generator: MobileStyleGAN, head: PreviewHead, pairs: Pairs, settings: Settings
) -> Tensor:
    """PSNR [held_out] of the last images."""
    targets = pairs.targets(head.resolution)
    scores = []
    for i in range(settings.pictures, settings.pictures + settings.held_out):
        row = slice(i, i + 1)
        synth = head(pairs.features[head.resolution][row].float(), pairs.w_plus[row], generator)
        scores.append(10 * torch.log10(4 / mse_loss(synth, targets[row])))
    return torch.stack(scores)


@torch.no_grad()
def linear_psnr_db(pairs: Pairs, resolution: int, settings: Settings) -> Tensor:
    """PSNR [held_out] of the best linear 1x1 head, by streamed normal equations."""
    targets = pairs.targets(resolution).flatten(2).mT  # [N, px^2, 3]
    flat = pairs.features[resolution].flatten(2).mT  # [N, px^2, C]

    def row(i: int) -> Tensor:
        return torch.cat([flat[i].float(), torch.ones(resolution**2, 1)], 1).double()

    size = flat.shape[2] + 1
    gram, moment = torch.zeros(size, size).double(), torch.zeros(size, 3).double()
    for i in range(settings.pictures):
        x = row(i)
        gram += x.T @ x
        moment += x.T @ targets[i].double()
    ridge = 1e-6 * gram.diagonal().mean() * torch.eye(size).double()
    weight = torch.linalg.solve(gram + ridge, moment)
    held = range(settings.pictures, settings.pictures + settings.held_out)
    errors = [mse_loss(row(i) @ weight, targets[i].double()) for i in held]
    return 10 * torch.log10(4 / torch.stack(errors)).float()


def summarise(db: Tensor) -> dict[str, float]:
    """Mean and worst, rounded, and the mean of each kind of latent."""
    kinds = ("w", "truncated", "crossed", "moved")
    means = {kind: round(float(db[i::4].mean()), 2) for i, kind in enumerate(kinds)}
    return {"mean": round(float(db.mean()), 2), "worst": round(float(db.min()), 2), **means}


def train(generator: MobileStyleGAN, settings: Settings) -> tuple[list[PreviewHead], Measured]:
    """The heads, finest last, and their measures."""
    pairs = draw_pairs(generator, settings)
    heads: list[PreviewHead] = []
    psnr_db: Measured = {}
    for px in settings.resolutions:
        head = fit_head(generator, pairs, px, settings)
        untrained = held_out_psnr_db(generator, untrained_head(generator, px), pairs, settings)
        psnr_db[str(px)] = {
            "trained": summarise(held_out_psnr_db(generator, head, pairs, settings)),
            "untrained": summarise(untrained),
            "linear_1x1": summarise(linear_psnr_db(pairs, px, settings)),
        }
        heads.append(head)
    return heads, psnr_db


def write(out: Path, heads: Sequence[PreviewHead], psnr_db: Measured, settings: Settings) -> None:
    """Write the .safetensors file, and its card beside it as .json."""
    save_file({name: t.contiguous() for name, t in head_tensors(heads).items()}, out)
    options = f"--pictures {settings.pictures} --held-out {settings.held_out}"
    card = {
        "name": out.stem,
        "kind": "generator",
        "source": f"bundled://{out.stem}",
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "architecture": {
            "family": "PreviewHead (gains and biases)",
            "generator": "pypi://random-face==2021.7.21.1 (MobileStyleGAN)",
            "heads": [head.config for head in heads],
        },
        "licence": LICENCE,
        "provenance": "trained here on images that the generator made: w, truncated, crossed "
        "and moved latents in turn",
        "command": "python -m invertory.training.preview_head --random-face FOLDER "
        f"--out {out.name} {options} --steps {settings.steps} --seed {settings.seed}",
        "num_pictures": {"trained_on": settings.pictures, "held_out": settings.held_out},
        "psnr_db": psnr_db,
    }
    out.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the preview heads of MobileStyleGAN.")
    parser.add_argument("--random-face", type=Path, required=True, help=f"folder of {FILES}")
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors to write")
    for name in ("pictures", "held-out", "steps", "seed"):
        default = getattr(Settings(), name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)  # a fixed order of sums, so that a seed determines the result
    blobs = [(args.random_face / name).read_bytes() for name in FILES]
    settings = Settings(
        pictures=args.pictures, held_out=args.held_out, steps=args.steps, seed=args.seed
    )
    heads, psnr_db = train(MobileStyleGAN.from_openvino(*blobs), settings)
    write(args.out, heads, psnr_db, settings)
    print(json.dumps(psnr_db, indent=2))


if __name__ == "__main__":
    main()
