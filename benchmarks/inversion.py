"""Speed of the inversion engine against the optimisation loop of published code.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python benchmarks/inversion.py --cases portraits faces full --threads 2

The loop inverts one image at a time with torch.optim.Adam, recomputes the features of the target at
each step and synchronises with the host to read the loss. The two are compared at equal steps,
where they reach the same latents, and at equal final loss. `slots` stops each image once it is good
enough, and compares batches that wait for their slowest image with slots that are refilled.

    portraits  StyleGAN2 at 64 px with bundled weights, else random ones
    faces      the 64 px preview head of MobileStyleGAN (weights are fetched)
    full       StyleGAN2 at 256 px, configured as NVIDIA's networks, random weights

With one CPU thread times are CPU time, since the machine may be shared, otherwise wall time. FLOPs
count the convolutions and matrix products of one step of the loop, forward and backward.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from invertory.generators import Generator
from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import heads_from
from invertory.generators.stylegan2 import StyleGAN2
from invertory.inversion import Inversion
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.perceptual import Lpips, Perceptual, PixelPyramid
from invertory.resources.models import ModelStore
from invertory.resources.pinned import PINNED

BUNDLED = Path(__file__).resolve().parents[1] / "resources/bundled"
TRUNKS = {"lpips_alex": ("alex", "lpips-alexnet"), "lpips_vgg": ("vgg", "lpips-vgg16")}
SMALL = {"img_resolution": 64, "channel_base": 2048, "channel_max": 256, "w_dim": 256}
FULL = {"img_resolution": 256, "channel_base": 16384, "channel_max": 512, "w_dim": 512}


@dataclass(frozen=True)
class Case:
    """A generator, targets of increasing difficulty, and the method that inverts them."""

    name: str
    generator: Generator
    targets: Tensor
    perceptual: Perceptual
    method: Image2StyleGAN

    def render(self, w_plus: Tensor) -> Tensor:
        if not self.method.preview:
            return self.generator.synthesis(w_plus)
        return self.generator.preview(w_plus, self.targets.shape[-1])

    def invert(self, batch: int, **changes: Any) -> Inversion:
        return replace(self.method, **changes).invert(
            self.generator,
            self.targets,
            seeds=range(len(self.targets)),
            perceptual=self.perceptual,
            batch_size=batch,
        )


def random_stylegan2(config: dict[str, int]) -> StyleGAN2:
    """A generator with random weights, as fast as a trained one."""
    generator = StyleGAN2(z_dim=config["w_dim"], **config)
    rng = torch.Generator().manual_seed(0)
    for name, parameter in generator.named_parameters():
        if parameter.ndim > 1:
            # the mapping multiplies its weights by 0.01
            scale = 100.0 if name.startswith("mapping") else 1.0
            parameter.copy_(scale * torch.randn(parameter.shape, generator=rng))
        elif name.endswith("affine.bias"):
            parameter.fill_(1.0)  # styles near 1, as at the start of training
    w = generator.mapping(torch.randn(4, generator.z_dim, generator=rng))
    contrast = generator.synthesis(generator.broadcast(w)).std()
    for name, parameter in generator.named_parameters():
        if name.endswith("torgb.weight"):
            parameter.mul_(0.4 / contrast)  # the RGB of all sizes adds up to images within [-1, 1]
    return generator


def portraits() -> StyleGAN2:
    weights = BUNDLED / "portraits_generator.safetensors"
    if not weights.is_file():
        return random_stylegan2(SMALL)
    card = json.loads(weights.with_suffix(".json").read_text())
    return StyleGAN2.load(load_file(weights), card["architecture"]["config"])


def faces(models: ModelStore) -> MobileStyleGAN:
    card = PINNED["mobile-stylegan-ffhq"]
    files = {f.name: f.read_bytes() for f in models.fetch_all(card.source, card.sha256)}
    names = [f"{n}Network.{s}" for n in ("Mapping", "Synthesis") for s in ("xml", "bin")]
    generator = MobileStyleGAN.from_openvino(*(files[name] for name in names))
    heads = load_file(BUNDLED / "mobile_stylegan_preview.safetensors")
    return generator.attach_preview(*heads_from(heads))


def perceptual_of(name: str, models: ModelStore) -> Perceptual:
    if name == "pixels":
        return PixelPyramid()
    net, pinned = TRUNKS[name]
    card = PINNED[pinned]
    return Lpips("alex" if net == "alex" else "vgg", models.fetch(card.source, card.sha256))


def case_of(name: str, args: argparse.Namespace, models: ModelStore) -> Case:
    """A case whose targets are drawn from near the mean latent to far from it, easy to hard."""
    makers: dict[str, Callable[[], Any]] = {
        "portraits": portraits,
        "faces": partial(faces, models),
        "full": partial(random_stylegan2, FULL),
    }
    G = makers[name]().to(args.device)
    perceptual = perceptual_of(args.perceptual, models)
    if isinstance(perceptual, torch.nn.Module):
        perceptual = perceptual.to(args.device)
    method = Image2StyleGAN(steps=args.steps, learning_rate=0.05, preview=name == "faces")
    z = torch.randn(args.rows, G.z_dim, generator=torch.Generator().manual_seed(1))
    case = Case(name, cast("Generator", G), torch.empty(0, 3, 64, 64), perceptual, method)
    with torch.no_grad():
        w = G.mapping(z.to(args.device))
        reach = torch.linspace(0.05, 1.0, args.rows, device=w.device)[:, None]
        w_plus = (G.w_avg + reach * (w - G.w_avg))[:, None].expand(-1, G.num_ws, -1)
        targets = torch.cat([case.render(rows) for rows in torch.split(w_plus, 4)]).clamp(-1, 1)
    return replace(case, targets=targets)


def plain_loop(case: Case, chosen: list[int]) -> list[list[float]]:
    """The published loop over the chosen images => the loss of each at every step."""
    G, perceptual, steps = case.generator, case.perceptual, case.method.steps
    losses = []
    for target in case.targets[chosen, None]:
        w_plus = G.w_avg.expand(1, G.num_ws, -1).clone().requires_grad_()
        adam = torch.optim.Adam([w_plus], lr=case.method.learning_rate)
        path: list[float] = []
        for step in range(steps + 1):
            synth = case.render(w_plus)
            features = perceptual.features(target)
            distance = perceptual.distance(perceptual.features(synth), features)
            loss = (synth - target).square().mean() + distance.sum()
            path.append(loss.item())
            if step < steps:
                adam.zero_grad()
                torch.autograd.backward(loss)
                adam.step()
        losses.append(path)
    return losses


def timed(run: Callable[[], Any], args: argparse.Namespace) -> tuple[Any, float]:
    """Return the result of `run` and its seconds."""
    clock = time.process_time if args.threads == 1 else time.perf_counter
    start = clock() if args.device == "cpu" else time.perf_counter()
    found = run()
    if args.device == "cpu":
        return found, clock() - start
    torch.cuda.synchronize()
    return found, time.perf_counter() - start


def settings(args: argparse.Namespace) -> Iterator[tuple[int, dict[str, Any]]]:
    for precision in args.precisions:
        for execution in args.executions:
            for batch in args.batches:
                if batch <= args.rows:
                    yield batch, {"precision": precision, "execution": execution}


def compare(case: Case, args: argparse.Namespace) -> None:
    """Print the loop and every setting of the engine, at equal steps and at equal loss."""
    short = replace(case, method=replace(case.method, steps=1))
    chosen = torch.linspace(0, args.rows - 1, args.loop_rows).long().tolist()  # easy and hard
    plain_loop(short, chosen[:1])
    paths, loop_s = timed(lambda: plain_loop(case, chosen), args)
    with FlopCounterMode(display=False) as counter:
        plain_loop(short, chosen[:1])
    step_flops = counter.get_total_flops() / 2 * args.rows * (case.method.steps + 1)
    goal = max(min(path) for path in paths) * 1.02  # a loss that every image of the loop reaches
    needed = sum(next(i for i, loss in enumerate(p) if loss <= goal) + 1 for p in paths)
    rate = args.loop_rows / loop_s
    goal_rate = rate * sum(len(path) for path in paths) / needed
    head = f"{case.name}, {case.targets.shape[-1]} px, {case.perceptual.name}, {args.device}"
    print(f"\n{head}: {case.method.steps} steps, or until the loss is {goal:.4f}")
    print(f"{'':34s}  images/s   ratio  GFLOP/s | to that loss   ratio  reached | difference")
    print(f"{'published loop, float32':34s}{rate:10.3f}{1:8.2f}{'':10s}| {goal_rate:12.3f}{1:8.2f}")
    for batch, how in settings(args):
        small = replace(case, targets=case.targets[:batch], method=short.method)
        small.invert(batch, **how)  # warms up, compiles or records
        full, full_s = timed(partial(case.invert, batch, **how), args)
        until, until_s = timed(partial(case.invert, batch, target_loss=goal, **how), args)
        rates = args.rows / full_s, args.rows / until_s
        reached = float((until.loss <= goal).float().mean())
        apart = float((full.loss[chosen] - _best(paths)).abs().max())
        name = f"{how['precision']}, {how['execution']}, batch {batch}"
        print(
            f"{name:34s}{rates[0]:10.3f}{rates[0] / rate:8.2f}{step_flops / full_s / 1e9:9.1f} | "
            f"{rates[1]:12.3f}{rates[1] / goal_rate:8.2f}{reached:9.0%} | {apart:.1e} in loss",
            flush=True,
        )


def _best(paths: list[list[float]]) -> Tensor:
    return torch.tensor([min(path) for path in paths])


def slots(case: Case, args: argparse.Namespace) -> None:
    """Compare refilled slots with batches that wait for their slowest image."""
    batch = min(args.slot_batch, args.rows // 2)
    if batch < 2:
        return
    half = case.invert(batch, steps=case.method.steps // 2)
    goal = float(half.loss.median())  # easy images reach it early, hard ones late
    found, slots_s = timed(lambda: case.invert(batch, target_loss=goal), args)

    def waiting() -> None:
        pairs = zip(torch.split(case.targets, batch), torch.split(found.steps, batch), strict=True)
        for targets, steps in pairs:
            replace(case, targets=targets).invert(batch, steps=int(steps.max()))

    _, batches_s = timed(waiting, args)
    steps = sorted(found.steps.tolist())
    print(
        f"{case.name}, slots: {args.rows} images of {steps[0]} to {steps[-1]} steps (median "
        f"{steps[len(steps) // 2]}), batch {batch}: refilled {args.rows / slots_s:.3f} "
        f"images/s, waiting {args.rows / batches_s:.3f}, ratio {batches_s / slots_s:.2f}",
        flush=True,
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cases", nargs="+", default=["portraits", "faces", "full"])
    parser.add_argument("--rows", type=int, default=32, help="images that the engine inverts")
    parser.add_argument(
        "--loop-rows", type=int, default=4, help="images, among these, that the loop inverts"
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--slot-batch", type=int, default=8)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument(
        "--executions", nargs="+", default=["eager"], help="any of eager, compiled and graphed"
    )
    choices = ["lpips_alex", "lpips_vgg", "pixels"]
    parser.add_argument("--perceptual", choices=choices, default="lpips_alex")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    return parser.parse_args()


def main() -> None:
    args = arguments()
    args.loop_rows = min(args.loop_rows, args.rows)
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} CPU threads")
    models = ModelStore()
    for name in args.cases:
        case = case_of(name, args, models)
        compare(case, args)
        slots(case, args)


if __name__ == "__main__":
    main()
