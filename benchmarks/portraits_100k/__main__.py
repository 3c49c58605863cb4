"""100,000 portraits through the chain on a small machine: how fast, and in how much memory.

The portraits are drawn first, into tars, by one process a core; that is counted apart, since a
collection is mostly there already. Then images > aligned > latents (> attributes) run as
`invertory run` runs them, in a process of its own whose resident size and progress are noted every
second. Both halves go on where a killed one stopped: the same command again.

    python -m benchmarks.portraits_100k --num 100000 --work /data/portraits_100k --docs docs

`docs` then holds `portraits_100k.csv` (the curve), `.md` (the table) and `.png`.
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


def recipe_of(asked: argparse.Namespace) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "name": "portraits_100k",
        "collection": {
            "uri": str(asked.work / "pictures" / "*.tar"),
            "shard_size": asked.shard_size,
        },
        "limits": {"min_px": 16},
        "alignment": {"kind": "centre", "size_px": SIZE_PX},
        "generator": {"name": "portraits"},
        "perceptual": {"name": "portraits_classifier"},
        "methods": {METHOD: {}},
        "resources": {
            "device": asked.device,
            "batch_size": asked.batch,
            "commit_rows": 8 * asked.batch,
            "precision": asked.precision,
        },
    }
    if asked.attributes:
        recipe["attributes"] = {name: {"scorer": "classifier"} for name in ATTRIBUTES}
    return recipe


def run_chain(work: Path) -> None:
    """The recipe in `work`, to its end; this process is watched."""
    import torch

    from invertory.pipelines.cli.running import run_recipe
    from invertory.pipelines.progress.reporting import Fixed
    from invertory.pipelines.recipe.recipe import load_recipe

    torch.set_num_threads(num_cores())
    os.environ |= {"INVERTORY_STORE": str(work / "store"), "DAGSTER_HOME": str(work / "dagster")}
    curve = Curve(work / "curve.csv")
    if curve.path.exists() and (lines := read_curve(curve.path)):
        curve.before_s, curve.cpu_before_s = lines[-1]["elapsed_s"], lines[-1]["cpu_s"]
        curve.done = {name: int(lines[-1][name]) for name in COLUMNS[3:]}
    with curve.kept():
        report = run_recipe(load_recipe(work / "recipe.yaml", ModelStore()), Fixed(curve), curve)
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
    parser.add_argument("--work", type=Path, default=Path("portraits_100k"), help="kept, resumed")
    parser.add_argument("--docs", type=Path, help="folder for the curve, the table and the plot")
    parser.add_argument("--shard_size", type=int, default=5000, help="pictures a tar and a shard")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--processes", type=int, default=num_cores(), help="that draw")
    parser.add_argument("--precision", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--attributes", action="store_true", help=", ".join(ATTRIBUTES) + " too")
    parser.add_argument("--chain", action="store_true", help="only the chain, in this process")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    asked.work = asked.work.resolve()
    if asked.chain:
        run_chain(asked.work)
        return
    drawn, drawn_s = draw_all(asked.work / "pictures", asked.num, asked.shard_size, asked.processes)
    about = (
        f"{asked.num:,} portraits of {SIZE_PX} px, {asked.precision}, batches of {asked.batch}, "
        f"shards of {asked.shard_size}, {num_cores()} cores, load {os.getloadavg()[0]:.1f}. "
        f"Drawn beforehand: {drawn:,} in {drawn_s / 60:.1f} min by {asked.processes} processes."
    )
    (asked.work / "recipe.yaml").write_text(yaml.safe_dump(recipe_of(asked)))
    in_fresh_process(asked.work)
    curve = read_curve(asked.work / "curve.csv")
    print(table(curve, about))
    if asked.docs:
        asked.docs.mkdir(parents=True, exist_ok=True)
        (asked.docs / "portraits_100k.csv").write_text((asked.work / "curve.csv").read_text())
        (asked.docs / "portraits_100k.md").write_text(table(curve, about))
        plot(curve).save(asked.docs / "portraits_100k.png", optimize=True)


if __name__ == "__main__":
    main()
