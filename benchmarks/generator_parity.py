"""MobileStyleGAN: deviation from OpenVINO's float32, and the cost of an inversion step.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python benchmarks/generator_parity.py --random-face FOLDER --threads 2

Without the two variables glibc returns large tensors to the system after every operation, which
makes a batch of 8 six times as slow.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import torch
from safetensors.torch import load_file
from torch import Tensor

from invertory.generators.mobile_stylegan import MobileStyleGAN
from invertory.generators.preview import heads_from
from invertory.training.preview_head import FILES

HEAD = Path(__file__).resolve().parents[1] / "resources/bundled/mobile_stylegan_preview.safetensors"


def openvino_rows(folder: Path, name: str, rows: Tensor) -> Tensor:
    """Run the original graph on one row at a time."""
    hints = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(folder / f"{name}.xml"), "CPU", hints)
    outputs = [next(iter(model([row[None].numpy()]).values())) for row in rows]
    return torch.from_numpy(np.concatenate(outputs))


@torch.no_grad()
def print_parity(generator: MobileStyleGAN, folder: Path, count: int) -> None:
    """Print the errors of w and of images against OpenVINO, and of both images against float64."""
    z = torch.randn(count, 512, generator=torch.Generator().manual_seed(0))
    w = openvino_rows(folder, "MappingNetwork", z)
    print(f"w: n={count}, largest error {(generator.mapping(z) - w).abs().max():.1e}")
    theirs = openvino_rows(folder, "SynthesisNetwork", w)
    w_plus = w[:, None].expand(-1, generator.num_ws, -1)
    ours = torch.cat([generator.synthesis(row) for row in w_plus[:, None]])
    exact = torch.cat([generator.double().synthesis(row) for row in w_plus.double()[:, None]])
    generator.float()
    pairs = {"ours to OpenVINO": (ours, theirs), "ours to float64": (ours, exact)}
    for label, (a, b) in (pairs | {"OpenVINO to float64": (theirs, exact)}).items():
        error = (a - b).abs()
        print(f"image, {label}: n={count}, largest {error.max():.1e}, mean {error.mean():.1e}")


def milliseconds(step: Callable[[], object], repeats: int) -> float:
    """The best of `repeats` after one warm-up, since the machine may be shared."""
    step()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def print_cost(generator: MobileStyleGAN, batches: tuple[int, ...], repeats: int) -> None:
    """Print the time of a preview, forward and backward, in ms per image."""
    for px in (64, 128):
        row = []
        for n in batches:
            w_plus = generator.w_avg.repeat(n, generator.num_ws, 1).requires_grad_()

            def step(w_plus: Tensor = w_plus, px: int = px) -> None:
                torch.autograd.backward(generator.preview_at(w_plus, px).square().sum())

            row.append(f"batch {n}: {milliseconds(step, repeats) / n:.0f}")
        print(f"preview at {px} px, forward + backward, ms per image: {', '.join(row)}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Parity and cost of MobileStyleGAN on the CPU.")
    parser.add_argument("--random-face", type=Path, required=True, help=f"folder of {FILES}")
    parser.add_argument(
        "--count", type=int, default=4, help="images to compare; 0: measure the cost only"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    blobs = [(args.random_face / name).read_bytes() for name in FILES]
    generator = MobileStyleGAN.from_openvino(*blobs)
    if args.count:
        print_parity(generator, args.random_face, args.count)
    generator.attach_preview(*heads_from(load_file(HEAD)))
    kept = os.environ.get("MALLOC_MMAP_THRESHOLD_", "unset")
    print(f"threads {args.threads}, MALLOC_MMAP_THRESHOLD_ {kept}")
    print_cost(generator, (1, 4, 8), args.repeats)


if __name__ == "__main__":
    main()
