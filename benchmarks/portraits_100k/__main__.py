"""Speed and memory of the chain on 100,000 portraits, on a small machine.

First, one process per core draws the portraits into tar files; this is timed separately, since
usually a collection exists already. Then the stages images, aligned, latents and optionally
attributes run as under `invertory run`, in a process whose resident size and progress are recorded
every second. After an interruption, the same command resumes both parts.

    python -m benchmarks.portraits_100k --num 100000 --work /data/portraits_100k --docs docs

The folder `docs` then contains `portraits_100k.csv` (the curve), `.md` (the table) and `.png`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks.portraits_100k.curve import COLUMNS, METHOD, Curve, read_curve
from benchmarks.portraits_100k.drawing import SIZE_PX, draw_all
from benchmarks.portraits_100k.report import plot, table
from invertory.ops.ahead import num_cores
from invertory.pipelines.cli.main import ALLOCATOR
from invertory.resources.models import ModelStore

ATTRIBUTES = ("glasses", "male", "smile")


def recipe_of(args: argparse.Namespace) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "name": "portraits_100k",
        "collection": {
            "uri": str(args.work / "pictures" / "*.tar"),
            "shard_size": args.shard_size,
        },
        "limits": {"min_px": 16},
        "alignment": {"kind": "centre", "size_px": SIZE_PX},
        "generator": {"name": "portraits"},
        "perceptual": {"name": "portraits_classifier"},
        "methods": {METHOD: {}},
        "resources": {
            "device": args.device,
            "batch_size": args.batch,
            "commit_rows": 8 * args.batch,
            "precision": args.precision,
        },
    }
    if args.attributes:
        recipe["attributes"] = {name: {"scorer": "classifier"} for name in ATTRIBUTES}
    return recipe


def run_chain(work: Path) -> None:
    """Run the recipe in `work` to its end while the curve of this process is recorded."""
    import torch

    from invertory.pipelines.cli.running import run_recipe
    from invertory.pipelines.progress.reporting import FixedReporting
    from invertory.pipelines.recipe.recipe import load_recipe

    torch.set_num_threads(num_cores())
    os.environ |= {"INVERTORY_STORE": str(work / "store"), "DAGSTER_HOME": str(work / "dagster")}
    curve = Curve(work / "curve.csv")
    if curve.path.exists() and (lines := read_curve(curve.path)):
        curve.before_s, curve.cpu_before_s = lines[-1]["elapsed_s"], lines[-1]["cpu_s"]
        curve.done = {name: int(lines[-1][name]) for name in COLUMNS[3:]}
    with curve.kept():
        recipe = load_recipe(work / "recipe.yaml", ModelStore())
        report = run_recipe(recipe, FixedReporting(curve), curve)
    if report.failures:
        raise RuntimeError("; ".join(report.failures))


def in_fresh_process(work: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.portraits_100k", "--chain", "--work", str(work)]
    subprocess.run(command, env={**os.environ, **ALLOCATOR}, check=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--num", type=int, default=100_000)
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("portraits_100k"),
        help="folder of portraits and store, resumed if it exists",
    )
    parser.add_argument("--docs", type=Path, help="folder for the curve, the table and the plot")
    parser.add_argument("--shard_size", type=int, default=5000, help="images per tar and per shard")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument(
        "--processes", type=int, default=num_cores(), help="number of processes that draw portraits"
    )
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attributes", action="store_true", help=", ".join(ATTRIBUTES) + " too")
    parser.add_argument("--chain", action="store_true", help="run only the chain, in this process")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    args.work = args.work.resolve()
    if args.chain:
        run_chain(args.work)
        return
    drawn, drawn_s = draw_all(args.work / "pictures", args.num, args.shard_size, args.processes)
    about = (
        f"{args.num:,} portraits of {SIZE_PX} px, {args.precision}, batches of {args.batch}, "
        f"shards of {args.shard_size}, {num_cores()} cores, load {os.getloadavg()[0]:.1f}. "
        f"Drawn beforehand: {drawn:,} in {drawn_s / 60:.1f} min by {args.processes} processes."
    )
    (args.work / "recipe.yaml").write_text(yaml.safe_dump(recipe_of(args)))
    in_fresh_process(args.work)
    curve = read_curve(args.work / "curve.csv")
    print(table(curve, about))
    if args.docs:
        args.docs.mkdir(parents=True, exist_ok=True)
        (args.docs / "portraits_100k.csv").write_text((args.work / "curve.csv").read_text())
        (args.docs / "portraits_100k.md").write_text(table(curve, about))
        plot(curve).save(args.docs / "portraits_100k.png", optimize=True)


if __name__ == "__main__":
    main()
