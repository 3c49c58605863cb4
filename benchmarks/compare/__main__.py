"""Every method of inversion on the same pictures that no training saw.

    make compare
    python -m benchmarks.compare --domain portraits faces --num 64 --out docs/compare

It prints and writes, for each domain, <domain>.json (every figure with n and spread), <domain>.md,
<domain>.png (a plot) and <domain>.jpg (a contact sheet). What each method may spend is in
benchmarks/compare/budgets.py. A method whose networks are missing is listed with the remedy. With
one CPU thread times are CPU time, as the machine may be shared; otherwise they are the wall's.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.compare import budgets, editability, report
from benchmarks.compare.analyses import codes, to_quality
from benchmarks.compare.budgets import BUDGETS, Arm, Budget
from benchmarks.compare.claims import CLAIMS, judge
from benchmarks.compare.domains import DOMAINS, Asked, Domain, PictureSet
from benchmarks.compare.drawing import Axis, Panel, Point, plot, save, sheet
from benchmarks.compare.editability import COSINE
from benchmarks.compare.reconstruction import (
    SECONDS,
    Inverted,
    embedding,
    invert,
    measured,
    rendered,
    without_rejects,
)
from benchmarks.compare.results import Results, Values
from invertory.metrics.spread import spread_of

SHEET_COLUMNS, REJECTS = 8, "rejects"
DEFAULTS = Asked()


def progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def reconstruct(
    domain: Domain, arms: list[Arm], chosen: PictureSet, results: Results, batch: int
) -> tuple[dict[str, Inverted], dict[str, Tensor]]:
    """Every arm on one set => its latents and its first pictures."""
    latents: dict[str, Inverted] = {}
    shown = {report.ITSELF: chosen.targets[:SHEET_COLUMNS]}
    results.put(chosen.name, report.ITSELF, measured(domain, chosen, chosen.targets))
    for arm in arms:
        if domain.networks(arm) is None:
            progress(f"{arm.name}: not at hand")
            continue
        found = invert(domain, arm, chosen.targets, batch=batch, is_timed=True)
        made = rendered(domain, found.w_plus, found.state, chosen.targets.shape[-1])
        columns = without_rejects(measured(domain, chosen, made), found.is_finite)
        rejects = float((~found.is_finite).sum())
        own = {SECONDS: np.array([found.seconds]), REJECTS: np.array([rejects])}
        results.put(chosen.name, arm.name, columns | own)
        latents[arm.name], shown[arm.name] = found, made[:SHEET_COLUMNS]
        told = f"MSE {np.nanmean(columns['MSE']):.4f}, {found.seconds:.3f} s a picture"
        progress(f"{chosen.name}, {arm.name}: {told}")
    return latents, shown


def edit(
    domain: Domain,
    arms: list[Arm],
    latents: dict[str, Inverted],
    results: Results,
    asked: argparse.Namespace,
) -> editability.Editors:
    """Every inversion through both editors."""
    made = editability.editors(domain, asked.samples)
    chosen = domain.sets[0]
    assert domain.codes is not None
    true = torch.cat([chosen.targets, domain.codes.targets])
    real = embedding(domain, true)
    edits = {name: editability.lacking(chosen, name) for name in made.boundaries}
    for arm in (arm for arm in arms if arm.name in latents):
        found = latents[arm.name]
        for editor, moves in made.moves.items():
            columns: dict[str, Values] = {}
            for name, move in moves.items():
                columns |= editability.scored_edit(domain, chosen, found, edits[name], move, real)
                if name in budgets.CYCLES[editor] and arm.name not in budgets.NO_CYCLES:
                    columns |= editability.cycled(
                        domain, arm, found, edits[name], move, num=asked.cycles, batch=asked.batch
                    )
            results.put(f"edit/{editor}", arm.name, editability.joined(columns))
        progress(f"edits of {arm.name}")
    return made


def edited_rows(domain: Domain, latents: dict[str, Inverted], made: editability.Editors) -> list[
    tuple[str, Tensor]
]:  # fmt: skip
    """For the sheet: the first attribute's edit by the boundary, of every arm."""
    attribute = next(iter(made.boundaries), None)
    if attribute is None:
        return []
    move, px = made.moves["boundary"][attribute], domain.sets[0].targets.shape[-1]
    edited = editability.lacking(domain.sets[0], attribute)
    few = edited.rows[:SHEET_COLUMNS]
    rows = [
        (f"lacks {attribute}", domain.sets[0].targets[few]),
        (f"true {attribute}", edited.changed[:SHEET_COLUMNS]),
    ]
    for name, found in latents.items():
        some = found.rows(few)
        w_plus = move(some.w_plus, budgets.EDIT_STEP)
        rows.append((f"{name}: + {attribute}", rendered(domain, w_plus, some.state, px)))
    return rows


def panels(domain: Domain, results: Results) -> list[Panel]:
    """Distortion against time, and edits against distortion."""
    first = domain.sets[0].name
    time_points, edit_points = [], []
    for arm, columns in results.parts[first].items():
        if SECONDS not in columns:
            continue
        error = spread_of(columns["MSE"])
        time_points.append(Point(arm, spread_of(columns[SECONDS]), error))
        edits = results.parts.get("edit/boundary", {}).get(arm, {})
        if COSINE in edits:
            edit_points.append(Point(arm, error, spread_of(edits[COSINE])))
    found = [
        Panel(
            f"{first}: distortion and time",
            Axis("seconds a picture", is_log=True),
            Axis("MSE", is_log=True),
            time_points,
        )
    ]
    if edit_points:
        x, y = Axis("MSE", is_log=True), Axis("cosine of the edit with the true change")
        found.append(Panel(f"{first}: distortion and edits", x, y, edit_points))
    return found


def run(name: str, asked: argparse.Namespace) -> None:
    """One domain from pictures to files."""
    domain: Domain = DOMAINS[name](
        Asked(
            generator=asked.generator if name == "portraits" else "",
            classifier=asked.classifier,
            referee=asked.referee,
            perceptual=asked.perceptual,
            num=asked.num,
            num_ood=asked.ood,
            num_codes=asked.codes,
            crops=asked.crops,
            device=asked.device,
        )
    )
    budget, results = BUDGETS[name], Results()
    told = f"samples {asked.samples}, cycles {asked.cycles}, batch {asked.batch}"
    notes = {"settings": f"{told}, classifier {asked.classifier}, referee {asked.referee}"}
    arms = [arm for arm in budget.arms() if not asked.methods or arm.method in asked.methods]
    main = [arm for arm in arms if not arm.is_ablation]
    rows: list[tuple[str, Tensor]] = []
    latents: dict[str, Inverted] = {}
    for i, chosen in enumerate(domain.sets):
        if not len(chosen):
            continue
        found, shown = reconstruct(domain, main if i else arms, chosen, results, asked.batch)
        latents = latents or found
        rows += [(f"{chosen.name} {arm}", made) for arm, made in shown.items()]
    if domain.classifier is not None and domain.codes is not None:
        made = edit(domain, arms, latents, results, asked)
        rows += edited_rows(domain, latents, made)
        notes |= made.told
        codes(domain, budget, made.boundaries, results, batch=asked.batch)
        to_quality(domain, budget, results, num=asked.climb, batch=asked.batch)
    write(domain, budget, arms, results, rows, notes, asked.out)


def write(
    domain: Domain,
    budget: Budget,
    arms: list[Arm],
    results: Results,
    rows: list[tuple[str, Tensor]],
    notes: dict[str, str],
    folder: Path,
) -> None:
    verdicts = judge(CLAIMS, results) if domain.name == "portraits" else {}
    folder.mkdir(parents=True, exist_ok=True)
    text = report.as_markdown(domain, results, verdicts, notes)
    (folder / f"{domain.name}.md").write_text(text)
    told = report.as_json(domain, arms, results, verdicts, notes)
    (folder / f"{domain.name}.json").write_text(told)
    save(plot(panels(domain, results)), folder / f"{domain.name}.png")
    save(sheet(rows), folder / f"{domain.name}.jpg")
    print(text)
    progress(f"written to {folder}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("--domain", nargs="+", choices=list(DOMAINS), default=["portraits"])
    parser.add_argument("--methods", nargs="+", default=[], help="words of METHODS (all)")
    parser.add_argument("--num", type=int, default=64, help="held-out pictures (64)")
    parser.add_argument("--ood", type=int, default=32, help="portraits with objects (32)")
    parser.add_argument("--codes", type=int, default=200, help="for the semantic analysis (200)")
    parser.add_argument("--cycles", type=int, default=16, help="edits inverted for ECS (16)")
    parser.add_argument("--climb", type=int, default=16, help="pictures of the time to quality")
    parser.add_argument("--samples", type=int, default=budgets.NUM_SAMPLES, help="of the generator")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--generator", default="", help="address (bundled://portraits_generator)")
    parser.add_argument("--classifier", default=DEFAULTS.classifier, help="F: address or card")
    parser.add_argument("--referee", default=DEFAULTS.referee, help="scores the edits: likewise")
    parser.add_argument("--perceptual", default="auto", help="word of a recipe (auto)")
    parser.add_argument("--crops", type=Path, help="folder of aligned crops for --domain faces")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path, default=Path("docs/compare"))
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    torch.set_num_threads(asked.threads)
    for name in asked.domain:
        run(name, asked)


if __name__ == "__main__":
    main()
