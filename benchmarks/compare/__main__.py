"""Compare all inversion methods on the same held-out images.

    make compare
    python -m benchmarks.compare --domain portraits faces --num 64 --out docs/compare

For each domain, the command prints the report and writes <domain>.json (all values with n and
spread), <domain>.md, <domain>.png (a plot), <domain>.jpg (a contact sheet) and <domain>_objects.jpg
(a contact sheet of images with objects). The budget of each method is in
benchmarks/compare/budgets.py. A method whose networks are missing is listed with the remedy. A
method that fails is listed with the reason; the others continue, and the exit code is 1. With one
CPU thread times are CPU time, since the machine may be shared, otherwise wall time.

Results are cached per method as soon as they are measured, and reused by later runs with the same
networks, settings and code. An interrupted run can therefore be resumed, and several processes can
share the work. `--only` measures the named methods and writes no report; `--page` also fills the
tables between the comments of a page:

    python -m benchmarks.compare --threads 1 --only sam samm pti
    python -m benchmarks.compare --threads 1 --page docs/results.md
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmarks.compare import (
    budgets,
    claims_encoders,
    claims_sam,
    claims_samm,
    contact,
    page,
    report,
)
from benchmarks.compare.bench import Bench, Work
from benchmarks.compare.budgets import BUDGETS, Arm
from benchmarks.compare.claims import CLAIMS as OF_THE_FIRST
from benchmarks.compare.claims import NOTES as ON_THE_FIRST
from benchmarks.compare.claims import Claim, judge
from benchmarks.compare.domains import DOMAINS, Domain, DomainOptions
from benchmarks.compare.drawing import plot
from benchmarks.compare.panels import panels
from benchmarks.compare.results import Results
from benchmarks.compare.running import (
    ANALYSES,
    analysis_units,
    arm_units,
    at_hand,
    progress,
    results_of,
    units_run,
)
from benchmarks.compare.sheet import grouped, save, sheet
from benchmarks.compare.store import Kept, Store
from invertory.inversion import METHODS
from invertory.resources.models import ModelStore

CLAIMS: dict[str, Claim] = (
    OF_THE_FIRST | claims_sam.CLAIMS | claims_samm.CLAIMS | claims_encoders.CLAIMS
)
NOTES: dict[str, str] = ON_THE_FIRST | claims_samm.NOTES | claims_encoders.NOTES
DEFAULTS, AS_USUAL = DomainOptions(), Work()


def run(name: str, args: argparse.Namespace) -> bool:
    """Measure one domain and write its files; return whether nothing failed."""
    domain, budget = domain_of(name, args), BUDGETS[name]
    work = Work(samples=args.samples, cycles=args.cycles, batch=args.batch)
    bench, store = Bench(domain, work), Store(args.cache / name, args.fresh)
    arms = [arm for arm in budget.arms() if not args.methods or arm.method in args.methods]
    mine = [arm for arm in arms if not args.only or arm.method in args.only]
    there = at_hand(domain, mine)
    found = units_run(bench, list(arm_units(bench, there)), store)
    others: dict[str, Kept] = {}
    if bench.has_edits:
        names = [word for word in ANALYSES if not args.only or word in args.only]
        units = analysis_units(bench, budget, at_hand(domain, arms), climb=args.climb, names=names)
        others = units_run(bench, list(units), store)
    if args.only:
        progress(f"cached in {store.folder}; run without --only to write the report")
        return not domain.failed
    notes = {"settings": report.settings(args)}
    if bench.has_edits:
        notes["referee"] = report.referee(domain, args.referee)
        notes |= bench.editors(domain.family(budget.arm("image2stylegan"))).notes
    results = results_of(domain, found, others)
    write(bench, arms, found, results, notes, args)
    return not domain.failed


def domain_of(name: str, args: argparse.Namespace) -> Domain:
    domain: Domain = DOMAINS[name](
        DomainOptions(
            generator=args.generator if name == "portraits" else "",
            classifier=args.classifier,
            referee=args.referee,
            perceptual=args.perceptual,
            num=args.num,
            num_ood=args.ood,
            num_codes=args.codes,
            crops=args.crops,
            device=args.device,
        ),
        ModelStore(),
    )
    return domain


def write(
    bench: Bench,
    arms: list[Arm],
    kept: dict[str, Kept],
    results: Results,
    notes: Mapping[str, str],
    args: argparse.Namespace,
) -> None:
    domain, folder = bench.domain, args.out
    verdicts = judge(CLAIMS, results, NOTES) if domain.name == "portraits" else {}
    folder.mkdir(parents=True, exist_ok=True)
    text = report.as_markdown(domain, results, verdicts, notes)
    (folder / f"{domain.name}.md").write_text(text)
    details = report.as_json(domain, arms, results, verdicts, notes)
    (folder / f"{domain.name}.json").write_text(details)
    main = [arm for arm in arms if not arm.is_ablation]
    save(plot(panels(domain, main, results)), folder / f"{domain.name}.png")
    save(sheet(contact.plain_rows(bench, main, kept)), folder / f"{domain.name}.jpg")
    for chosen in domain.sets[1:]:
        if made := contact.object_rows(chosen, main, kept):
            save(grouped(made), folder / f"{domain.name}_objects.jpg")
    if args.page and domain.name == page.PLAIN:
        page.fill(args.page, [arm.name for arm in main], results, verdicts)
    print(text)
    progress(f"written to {folder}")
    for broken, reason in domain.failed.items():
        progress(f"{broken} failed: {reason}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    words = [*METHODS, *ANALYSES]
    parser.add_argument("--domain", nargs="+", choices=list(DOMAINS), default=["portraits"])
    parser.add_argument("--methods", nargs="+", default=[], help="names in METHODS (all)")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=words, metavar="WORD",
        help=f"measure these and write no report: names in METHODS, {', '.join(ANALYSES)}",
    )  # fmt: skip
    parser.add_argument("--num", type=int, default=64, help="held-out images (64)")
    parser.add_argument("--ood", type=int, default=32, help="portraits with objects (32)")
    parser.add_argument(
        "--codes", type=int, default=200, help="images for the semantic analysis (200)"
    )
    parser.add_argument(
        "--cycles",
        type=int,
        default=AS_USUAL.cycles,
        help="edits per attribute that optimisation methods invert again (12)",
    )
    parser.add_argument(
        "--climb", type=int, default=16, help="images for the analysis of time to quality"
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=budgets.NUM_SAMPLES,
        help="samples of the generator, for its boundaries",
    )
    parser.add_argument("--batch", type=int, default=AS_USUAL.batch)
    parser.add_argument("--generator", default="", help="address (bundled://portraits_generator)")
    parser.add_argument(
        "--classifier", default=DEFAULTS.classifier, help="classifier F: address or name of a card"
    )
    parser.add_argument(
        "--referee", default=DEFAULTS.referee, help="classifier that scores the edits, likewise"
    )
    parser.add_argument(
        "--perceptual", default="auto", help="name of a perceptual distance, as in a recipe (auto)"
    )
    parser.add_argument("--crops", type=Path, help="folder of aligned crops for --domain faces")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--cache", type=Path, default=ModelStore().folder() / "compare",
        help="folder of cached results",
    )  # fmt: skip
    parser.add_argument(
        "--fresh", action="store_true", help="measure again and replace cached results"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/compare"))
    parser.add_argument("--page", type=Path, help="Markdown file whose tables are filled")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    is_whole = [run(name, args) for name in args.domain]
    sys.exit(0 if all(is_whole) else 1)


if __name__ == "__main__":
    main()
