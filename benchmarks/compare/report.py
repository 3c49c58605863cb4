"""The comparison in words: JSON with every figure, and a table to be read."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping
from typing import Any

import torch

from benchmarks.compare import budgets
from benchmarks.compare.budgets import Arm
from benchmarks.compare.claims import Verdict
from benchmarks.compare.domains import Domain
from benchmarks.compare.editability import COSINE, ECS, T
from benchmarks.compare.reconstruction import AGREEMENT
from benchmarks.compare.results import Results, Values
from invertory.metrics.spread import Spread, spread_of

ITSELF = "(the picture itself)"
BY_ATTRIBUTE = (AGREEMENT, T, ECS, COSINE)  # in the tables; the JSON has all measures


def as_json(
    domain: Domain,
    arms: list[Arm],
    results: Results,
    verdicts: Mapping[str, Verdict],
    notes: Mapping[str, Any],
) -> str:
    """Every figure with n, mean, std and the 95 % interval of the mean."""
    told = {
        "domain": domain.name,
        "loss": domain.loss.name,
        "environment": environment(domain),
        "pictures": {chosen.name: len(chosen) for chosen in domain.sets},
        "budgets": {
            arm.name: {"method": arm.method, "generator": arm.generator, **arm.parameters}
            for arm in arms
        },
        "edits": {"step_deviations": budgets.EDIT_STEP, "editors": list(budgets.CYCLES)},
        "notes": dict(notes),
        "not_at_hand": domain.absent,
        "columns": list(Spread._fields),
        "parts": {
            part: {arm: _spreads(columns) for arm, columns in rows.items()}
            for part, rows in results.parts.items()
        },
        "claims": {text: {"verdict": v.word, "numbers": v.told} for text, v in verdicts.items()},
    }
    text = json.dumps(told, indent=1, default=str)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", _on_one_line, text) + "\n"


def settings(asked: Any) -> str:
    """What the command line said, for the notes."""
    names = ("samples", "cycles", "batch", "classifier")
    return ", ".join(f"{name} {getattr(asked, name)}" for name in names)


def referee(domain: Domain, address: str) -> str:
    """Who scores attributes and edits."""
    if domain.referee is domain.classifier:
        return f"{address} is not at hand: the classifier itself scores attributes and edits"
    return f"{address}, which neither a boundary nor a method has seen"


def environment(domain: Domain) -> dict[str, Any]:
    return {
        "torch": torch.__version__,
        "device": str(domain.device),
        "threads": torch.get_num_threads(),
        "machine": platform.machine(),
    }


def as_markdown(
    domain: Domain, results: Results, verdicts: Mapping[str, Verdict], notes: Mapping[str, Any]
) -> str:
    """Tables of means with their deviation, claims, and what was not at hand."""
    found = [f"# Inversion of {domain.name}, compared", ""]
    found.append(
        f"Loss and ECS in {domain.loss.name}. A cell is mean ± standard deviation over pictures; "
        "intervals and budgets are in the JSON beside this file."
    )
    for part, rows in results.parts.items():
        names = results.measures(part)
        plain = [name for name in names if "/" not in name]
        found += ["", f"## {part}", "", *_table(rows, plain)]
        for group in (name for name in BY_ATTRIBUTE if name in names):
            single = [name for name in names if name.startswith(f"{group}/")]
            found += ["", f"{group}, by attribute:", "", *_table(rows, single)]
    if verdicts:
        found += ["", "## Claims", "", "| claim | here | numbers |", "|---|---|---|"]
    found += [f"| {text} | **{v.word}** | {v.told} |" for text, v in verdicts.items()]
    if notes:
        found += ["", "## Notes", "", *[f"- {name}: {note}" for name, note in notes.items()]]
    if domain.absent:
        found += ["", "## Not at hand", ""]
        found += [f"- {name}: {remedy}" for name, remedy in domain.absent.items()]
    return "\n".join(found) + "\n"


def cell(spread: Spread) -> str:
    """Three digits, with the deviation where there is more than one value."""
    if spread.n == 0:
        return "-"
    told = f"{spread.mean:.3g}"
    return told if not spread.std or math.isnan(spread.std) else f"{told} ± {spread.std:.2g}"


def _table(rows: Mapping[str, Mapping[str, Values]], names: list[str]) -> list[str]:
    """One row an arm, one column a measure, and the least and the greatest n."""
    heads = [name.rpartition("/")[2] for name in names]
    lines = ["| | " + " | ".join(heads) + " | n |", "|---" * (len(names) + 2) + "|"]
    for arm, columns in rows.items():
        spreads = {name: spread_of(columns[name]) for name in names if name in columns}
        cells = [cell(spreads[name]) if name in spreads else "" for name in names]
        counts = sorted({s.n for name, s in spreads.items() if len(columns[name]) > 1} or {1})
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(f"| {arm} | " + " | ".join(cells) + f" | {n} |")
    return lines


def _spreads(columns: Mapping[str, Values]) -> dict[str, list[float | None]]:
    spreads = {name: spread_of(values) for name, values in columns.items()}
    return {name: [s.n, *map(_plain, s[1:])] for name, s in spreads.items()}


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\s*\n\s*", " ", match[1]) + "]"


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
