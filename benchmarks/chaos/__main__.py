"""Harm done to the toy chain by number and seed: what was tried, equal and lost.

    python -m benchmarks.chaos --kills 200 --races 200 --flips 1000 --outages 20 --full-disks 20 \\
        --seed 0 --docs docs/chaos.md

The exit code is 1 where anything was lost or unnoticed; the places where that happened are kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.chaos.flips import flip_bits
from benchmarks.chaos.full_disks import fill_disks
from benchmarks.chaos.kills import kill_runs
from benchmarks.chaos.outages import fail_requests
from benchmarks.chaos.races import race_runs
from benchmarks.chaos.report import keep, row_of, table
from benchmarks.chaos.trials import Tally, Trials


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=0, help="kill -9 of a run")
    parser.add_argument("--races", type=int, default=0, help="processes at the same recipe")
    parser.add_argument("--flips", type=int, default=0, help="bits of a finished store")
    parser.add_argument("--outages", type=int, default=0, help="runs on S3 with failing requests")
    parser.add_argument("--full-disks", type=int, default=0, help="disks that are too small")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, help="default: a temporary folder")
    parser.add_argument("--docs", type=Path, help="page for the figures, such as docs/chaos.md")
    return parser.parse_args()


def harm(trials: Trials, asked: argparse.Namespace) -> Iterator[Tally]:
    """Every kind in turn, the quickest first."""
    yield flip_bits(trials, asked.flips, asked.seed)
    yield kill_runs(trials, asked.kills, asked.seed)
    yield race_runs(trials, asked.races, asked.seed)
    yield fill_disks(trials, asked.full_disks, asked.seed)
    yield from fail_requests(trials, asked.outages, asked.seed)


def main() -> int:
    asked = arguments()
    work = Path(asked.work or tempfile.mkdtemp(prefix="chaos-")).resolve()
    trials = Trials(work, asked.seed)
    is_clean = True
    for tally in harm(trials, asked):
        is_clean &= tally.is_clean
        if tally.tried:
            print(table([row_of(tally)]), flush=True)
        for problem in tally.problems:
            print(problem, file=sys.stderr, flush=True)
        if tally.tried and asked.docs:
            keep(asked.docs, tally, asked.seed)
    if is_clean:
        shutil.rmtree(work)
    else:
        print(f"kept for inspection: {work}", file=sys.stderr)
    return 0 if is_clean else 1


if __name__ == "__main__":
    sys.exit(main())
