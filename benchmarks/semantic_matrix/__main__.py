"""Attribute classifiers trained on originals or on reconstructions, each tested on all of them.

    python -m benchmarks.semantic_matrix --methods invgan invgan_tiled domain_guided_encoder

InvGAN: Invertable GANs, Ghosh et al. 2021, https://arxiv.org/abs/2112.04598, section 4.1, table 2:
if reconstructions preserve the semantics of images, a classifier trained on reconstructions only
recognises the attributes of originals. Rows are the training sets, columns the test sets; values
are the mean average precision (mAP) over attributes and its standard deviation, as in the paper.
Labels come from the renderer. Feed-forward methods share a matrix of --num people; the slower
optimisation methods have one of --num-optimised, with as many originals. Writes semantic_matrix.md
and semantic_matrix.json; with a number of 0, the matrix of an earlier run stays in the files.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.semantic_matrix.classifiers import (
    MIN_POSITIVE,
    Effort,
    attributes_of,
    difference,
    precision,
    scores,
    trained,
    truth,
)
from benchmarks.semantic_matrix.sources import (
    ORIGINAL,
    Inverter,
    Portraits,
    Source,
    arms,
    loaded,
    source,
)
from invertory.images import to_tensor
from invertory.metrics.pixel import psnr_db
from invertory.resources.models import ModelStore
from invertory.training.compute import Compute

GROUPS = {"feed_forward": "one pass", "optimisation": "optimisation"}


def progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def matrix(people: Portraits, sources: list[Source], args: argparse.Namespace) -> dict[str, Any]:
    """Train a classifier on each source and test it on all of them."""
    compute = Compute.best(args.device)
    names = attributes_of(people.test)
    labels, tested = truth(people.train, names), truth(people.test, names)
    effort = Effort(images=args.images)
    found: dict[str, dict[str, list[Tensor]]] = {}
    for one in sources:
        start = time.process_time()
        found[one.name] = {other.name: [] for other in sources}
        for seed in range(args.repeats):
            classifier = trained(one.train, labels, names, effort, compute, seed=seed)
            for other in sources:
                found[one.name][other.name].append(scores(classifier, other.test, compute))
        took = (time.process_time() - start) / args.repeats
        progress(f"trained on {one.name}, tested on {len(sources)}: {took:.0f} s of CPU each")
    cells = {
        row: {column: precision(s, tested, names) for column, s in columns.items()}
        for row, columns in found.items()
    }
    lost = {
        name: difference(found[name][ORIGINAL], found[ORIGINAL][ORIGINAL], tested)
        for name in found
        if name != ORIGINAL
    }
    return {
        "num_train": len(people.train),
        "num_test": len(people.test),
        "attributes": names,
        "chance": float(tested.mean()),
        "effort": asdict(effort),
        "psnr_db": {one.name: fidelity(people, one) for one in sources if one.name != ORIGINAL},
        "sources": {one.name: dict(one.metadata) for one in sources},
        "trained_on": {r: {c: p._asdict() for c, p in own.items()} for r, own in cells.items()},
        "lost_on_originals": lost,
    }


def fidelity(people: Portraits, one: Source) -> float:
    """The mean PSNR of the test images."""
    found = psnr_db(to_tensor(list(one.test)), to_tensor(list(people.test.images)))
    return float(found.mean())


def as_markdown(title: str, results: dict[str, Any]) -> str:
    """The matrix, and the mAP that each source loses on originals."""
    rows = results["trained_on"]
    lines = [
        f"## {title}",
        "",
        f"{results['num_train']} people for training, {results['num_test']} others for testing, "
        f"{len(results['attributes'])} attributes; chance is {results['chance']:.2f}.",
        "",
        "| trained on \\ tested on | " + " | ".join(rows) + " |",
        "|---" * (len(rows) + 1) + "|",
    ]
    for name, own in rows.items():
        cells = [f"{own[other]['mean']:.3f} ± {own[other]['std']:.2f}" for other in rows]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| trained on | PSNR (dB) | mAP on originals, relative to training on originals (95 %) |",
    ]
    lines.append("|---|---|---|")
    for name, (mean, low, high) in results["lost_on_originals"].items():
        psnr = results["psnr_db"][name]
        lines.append(f"| {name} | {psnr:.2f} | {mean:+.3f} ({low:+.3f} to {high:+.3f}) |")
    return "\n".join(lines)


def group(kind: str, chosen: list[Inverter], args: argparse.Namespace) -> dict[str, Any] | None:
    """The matrix of one kind of method; None if no method is requested or available."""
    is_quick = kind == "feed_forward"
    own = [inverter for inverter in chosen if inverter.is_feed_forward == is_quick]
    num = args.num if is_quick else args.num_optimised
    num_test = args.num_test if is_quick else min(args.num_test, max(num // 2, 1))
    if not own or not num:
        return None
    people = Portraits.of(num, num_test, args.size, args.folder)
    if not attributes_of(people.test):
        raise SystemExit(
            f"expected an attribute that at least {MIN_POSITIVE} test people have and as many "
            f"lack, got none among {len(people.test)} people; raise --num-test, and "
            "--num-optimised, which bounds the number of test people by half"
        )
    made = [source(one, people, args.folder, batch=args.batch, shown=progress) for one in own]
    first = Source(ORIGINAL, people.train.images, people.test.images)
    return matrix(people, [first, *made], args)


def found_before(folder: Path) -> dict[str, Any]:
    """The results of an earlier run: matrices that this run does not compute stay."""
    path = folder / "semantic_matrix.json"
    return json.loads(path.read_text()) if path.exists() else {}


def run(args: argparse.Namespace) -> None:
    absent: dict[str, str] = {}
    before = found_before(args.out)
    models = ModelStore()
    found = [
        loaded(arm, generator, args.size, absent, models)
        for arm, generator in arms(args.methods, models)
    ]
    chosen = [inverter for inverter in found if inverter is not None]
    results = {kind: group(kind, chosen, args) or before.get(kind) for kind in GROUPS}
    text = ["# Semantics of reconstructions", ""]
    text += [
        "Mean average precision ± deviation over attributes; see benchmarks/semantic_matrix.",
        "",
    ]
    for kind, matrix_found in results.items():
        if matrix_found is not None:
            text += [as_markdown(GROUPS[kind], matrix_found), ""]
    if absent:
        text += ["## Unavailable", "", *[f"- {name}: {why}" for name, why in absent.items()], ""]
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "semantic_matrix.md").write_text("\n".join(text))
    results["not_at_hand"] = absent
    (args.out / "semantic_matrix.json").write_text(json.dumps(results, indent=1) + "\n")
    print("\n".join(text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.semantic_matrix",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--methods", nargs="+", default=[], help="arms or names in METHODS (all)")
    parser.add_argument("--num", type=int, default=3000, help="people for training (3000)")
    parser.add_argument(
        "--num-optimised",
        type=int,
        default=300,
        help="people for training with optimisation methods (300)",
    )
    parser.add_argument(
        "--num-test",
        type=int,
        default=1000,
        help="people for testing; at most half of --num-optimised there",
    )
    parser.add_argument("--size", type=int, default=64, help="px of the portraits (64)")
    parser.add_argument(
        "--images", type=int, default=18_000, help="images per training of a classifier (18000)"
    )
    parser.add_argument("--repeats", type=int, default=1, help="classifiers per source (1)")
    parser.add_argument("--batch", type=int, default=32, help="images inverted together")
    parser.add_argument("--device", default="cpu", help="device of the classifiers")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=ModelStore().folder() / "semantics")
    parser.add_argument("--out", type=Path, default=Path("docs/compare"))
    args = parser.parse_args()
    least = min(args.num_test, args.repeats, args.batch, args.images)
    if least < 1 or min(args.num, args.num_optimised) < 0:
        parser.error("expected numbers of at least 1; --num and --num-optimised may be 0")
    return args


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    run(args)


if __name__ == "__main__":
    main()
