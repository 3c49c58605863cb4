"""How much the engine gains over the usual loop: one picture at a time, at equal steps, in one run.

The loop is what most public code does: torch's Adam on one picture, the target's features computed
again at each step, the loss read by the host at each step. Both must come to the same latents.

    python benchmarks/inversion_batching.py --generator stylegan2 --device cuda --rows 64 --batch 64
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from invertory.generators import Generator
from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator
from invertory.inversion.image2stylegan import Image2StyleGAN
from invertory.perceptual import Lpips, Perceptual, PixelPyramid


def random_stylegan2(px: int) -> StyleGAN2:
    """Weights drawn, not trained: the cost is that of the real network."""
    generator = StyleGAN2(img_resolution=px, channel_base=16384 if px < 512 else 32768)
    rng = torch.Generator().manual_seed(0)
    for name, parameter in generator.named_parameters():
        if parameter.ndim > 1:
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
        elif name.endswith("affine.bias"):
            parameter.fill_(1.0)  # styles about 1, as at the start of a training
    return generator


def by_loop(G: Generator, targets: Tensor, perceptual: Perceptual, steps: int) -> Tensor:
    """The usual loop => the best w_plus of each picture, [N, num_ws, w_dim], on the CPU."""
    found = []
    for target in targets[:, None]:
        w_plus = G.w_avg.expand(1, G.num_ws, -1).clone().requires_grad_()
        adam = torch.optim.Adam([w_plus], lr=0.01)
        best, kept = math.inf, w_plus.detach().clone()
        for step in range(steps + 1):
            synth = G.synthesis(w_plus)
            features = perceptual.features(target)
            distance = perceptual.distance(perceptual.features(synth), features)
            loss = (synth - target).square().mean() + distance.sum()
            if loss.item() < best:
                best, kept = loss.item(), w_plus.detach().clone()
            if step < steps:
                adam.zero_grad()
                loss.backward()
                adam.step()
        found.append(kept)
    return torch.cat(found).cpu()


def by_engine(
    G: Generator, targets: Tensor, perceptual: Perceptual, steps: int, batch_size: int
) -> Tensor:
    method = Image2StyleGAN(steps=steps, loss_px=targets.shape[-1])
    seeds = range(len(targets))
    return method.invert(
        G, targets, seeds=seeds, perceptual=perceptual, batch_size=batch_size
    ).latents


def timed(run: Callable[[], Tensor], device: str) -> tuple[Tensor, float]:
    """What it gives, and how long it took in seconds."""
    start = time.perf_counter()
    found = run()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return found, time.perf_counter() - start


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--generator", choices=["toy", "stylegan2"], default="toy")
    parser.add_argument("--px", type=int, default=64)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--net", choices=["vgg", "alex"], default="vgg")
    parser.add_argument("--weights", type=Path, help="LPIPS trunk file; without: a pixel pyramid")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    device = asked.device
    made = (
        ToyGenerator(resolution=asked.px)
        if asked.generator == "toy"
        else random_stylegan2(asked.px)
    )
    G = cast("Generator", made.to(device))
    perceptual: Perceptual = PixelPyramid()
    if asked.weights:
        perceptual = Lpips(asked.net, asked.weights).to(device)
    z = torch.randn(asked.rows, G.z_dim, generator=torch.Generator().manual_seed(1)).to(device)
    with torch.no_grad():
        targets = G.synthesis(G.mapping(z)[:, None].expand(-1, G.num_ws, -1)).clamp(-1, 1)
    by_engine(G, targets, perceptual, 2, asked.batch)  # both warm up, at their own batch size
    by_loop(G, targets[:1], perceptual, 2)
    slow, loop_s = timed(lambda: by_loop(G, targets, perceptual, asked.steps), device)
    fast, engine_s = timed(
        lambda: by_engine(G, targets, perceptual, asked.steps, asked.batch), device
    )
    print(
        f"{asked.generator} {asked.px} px, {asked.rows} pictures, {asked.steps} steps, "
        f"{perceptual.name}, {device}, {torch.get_num_threads()} CPU threads"
    )
    print(f"loop    {loop_s:8.2f} s  {asked.rows / loop_s:8.3f} pictures/s")
    print(
        f"engine  {engine_s:8.2f} s  {asked.rows / engine_s:8.3f} pictures/s  batch {asked.batch}"
    )
    print(f"ratio   {loop_s / engine_s:8.2f}")
    print(f"largest difference of the latents {float((slow - fast).abs().max()):.1e}")


if __name__ == "__main__":
    main()
