"""Throughput of feed-forward methods from image files to Parquet, against the bare network.

For each number of threads (and cores) and each batch size, the first table lists images per second
of

    encoder    the network alone, on tensors on the device
    networks   the computation of the verb `Invert`: encoder, synthesis, perceptual features, scores
    latents    the stage in the pipeline: read Parquet, decode crops, compute, encode the
               reconstructions as JPEG, write Parquet, commit chunk by chunk
    chain      all stages from files to images, aligned and latents, with published tables

`networks, ms` is the time per image in the networks, `stage adds, ms` the rest of the stage. The
second table lists the time of each step of the stage, measured separately, at the smallest and the
largest batch size. Everything runs in one process on the same images, so that ratios hold on a
shared machine. Each value is the best of `--repeats`; `--clock cpu` measures the CPU time of all
threads instead of wall time. Drawing portraits and loading weights are not included.

    python -m benchmarks.throughput --threads 1 2 --batches 1 8 32 128 --num 512
    python -m benchmarks.throughput --device cuda --num 4096 --generator faces
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path

import torch

from benchmarks.throughput.bench import CLOCKS, Bench, on_cores, recipe_of, write_portraits
from benchmarks.throughput.parts import parts, stages_before
from benchmarks.throughput.rates import rates
from invertory.ops.ahead import num_cores
from invertory.pipelines.cli.main import ALLOCATOR
from invertory.resources.models import ModelStore

HEAD = (
    "threads", "batch", "encoder/s", "networks/s", "latents/s", "chain/s", "latents : networks",
    "chain : encoder", "networks, ms", "stage adds, ms",
)  # fmt: skip


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32, 64, 128])
    parser.add_argument("--num", type=int, default=512, help="number of images")
    parser.add_argument("--size_px", type=int, default=64, help="side of the crops in px")
    parser.add_argument("--method", default="domain_guided_encoder")
    parser.add_argument("--generator", default="portraits")
    parser.add_argument("--perceptual", default="portraits_classifier")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument(
        "--threads",
        type=int,
        nargs="+",
        default=[num_cores()],
        help="numbers of cores and of torch threads",
    )
    parser.add_argument("--clock", default="wall", choices=list(CLOCKS))
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def machine(args: argparse.Namespace, device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return (
        f"{args.method}, {args.generator}, {args.perceptual}; n = {args.num}, "
        f"{args.size_px} px, {args.precision}; {name}, {num_cores()} cores, "
        f"load {os.getloadavg()[0]:.1f}, torch {torch.__version__}; "
        f"{args.clock} time, best of {args.repeats}\n"
    )


def print_row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def print_rates(args: argparse.Namespace, benches: list[Bench]) -> None:
    """Print one row per number of threads and batch size."""
    print_row(*HEAD)
    print_row(*["---"] * len(HEAD))
    for threads in args.threads:
        with on_cores(threads):
            for bench in benches:
                found = rates(bench, args.repeats)
                per_s = [f"{rate:.0f}" for rate in found.values()]
                encoder, networks, latents, chain = found.values()
                ratios = [f"{latents / networks:.2f}", f"{chain / encoder:.2f}"]
                ms = [f"{1e3 / networks:.2f}", f"{1e3 / latents - 1e3 / networks:.2f}"]
                print_row(threads, bench.batch_size, *per_s, *ratios, *ms)


def print_parts(args: argparse.Namespace, benches: list[Bench]) -> None:
    """Print one row per step and one column per bench, on the largest number of threads."""
    threads = max(args.threads)
    with on_cores(threads):
        found = [[*parts(b, args.repeats), *stages_before(b, args.repeats)] for b in benches]
    print()
    print_row(f"ms per image, {threads} threads", *(f"batch {b.batch_size}" for b in benches))
    print_row(*["---"] * (1 + len(benches)))
    for lines in zip(*found, strict=True):
        print_row(lines[0][0], *(f"{ms:.3f}" for _, ms in lines))


def keep_freed_memory() -> None:
    """Restart the process as `invertory` does, with glibc configured to keep freed memory."""
    if sys.platform == "linux" and not ALLOCATOR.keys() <= os.environ.keys():
        command = [sys.executable, "-m", "benchmarks.throughput", *sys.argv[1:]]
        os.execve(sys.executable, command, {**ALLOCATOR, **os.environ})


def main() -> None:
    args = arguments()
    keep_freed_memory()
    device = torch.device("cuda:0" if args.device == "cuda" else args.device)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_portraits(folder / "pictures", args.num, args.size_px)
        benches = [
            Bench(
                recipe_of(args, folder / "pictures", batch),
                ModelStore(),
                device,
                folder,
                CLOCKS[args.clock],
            )
            for batch in sorted(args.batches)
        ]
        print(machine(args, device))
        print_rates(args, benches)
        print_parts(args, benches if len(benches) < 2 else [benches[0], benches[-1]])


if __name__ == "__main__":
    main()
