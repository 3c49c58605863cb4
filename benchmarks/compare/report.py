"""The comparison in words: JSON with every figure, and a table to be read."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from benchmarks.compare import budgets
from benchmarks.compare.budgets import Arm
from benchmarks.compare.domains import Domain
from benchmarks.compare.editability import COSINE, ECS, LEC, LEC_SHARE, T
from benchmarks.compare.evidence import SURE, Verdict
from benchmarks.compare.holm import is_lost
from benchmarks.compare.reconstruction import AGREEMENT
from benchmarks.compare.results import PICTURE, Results, Values
from invertory.metrics.latent_consistency import trimmed
from invertory.metrics.spread import Spread, spread_of

ITSELF = "(the picture itself)"
REDRAWN = (
    "The same inversions, edits drawn by section 3.4 of SAM's paper (`preset: paper`): inside a "
    "mask the picture that skip connections have drawn below is kept too, not features alone."
)
BY_ATTRIBUTE = (AGREEMENT, T, ECS, LEC, COSINE)  # in the tables; the JSON has all measures


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
        "edits": {
            "step_deviations": budgets.EDIT_STEP,
            "editors": list(budgets.CYCLES),
            "redrawn": {f"{name}{budgets.REDRAWN_AS}": x for name, x in budgets.REDRAWN.items()},
        },
        "notes": dict(notes),
        "not_at_hand": domain.absent,
        "failed": domain.failed,
        "columns": list(Spread._fields),
        "parts": {
            part: {arm: _spreads(columns) for arm, columns in rows.items()}
            for part, rows in results.parts.items()
        },
        "claims": claims_json(verdicts),
    }
    return dumped(told)


def dumped(told: Mapping[str, Any]) -> str:
    """The text of the JSON file: indented, with a list of values on one line."""
    text = json.dumps(told, indent=1, default=str)
    return re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", _on_one_line, text) + "\n"


def claims_json(verdicts: Mapping[str, Verdict]) -> dict[str, Any]:
    """The claims as the JSON file holds them."""
    return {text: _claim(verdict) for text, verdict in verdicts.items()}


def _claim(verdict: Verdict) -> dict[str, Any]:
    told: dict[str, Any] = {
        "verdict": verdict.word,
        "deciding": verdict.deciding,
        "details": verdict.details,
    }
    if verdict.note:
        told["note"] = verdict.note
    if verdict.p is not None and verdict.p_holm is not None:
        told |= {"p": _plain(verdict.p), "p_holm": _plain(verdict.p_holm)}
    return told


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
        "intervals and budgets are in the JSON beside this file. ECS and LEC invert edits again: "
        "every one where that takes one pass, else the first of an attribute; LEC is in units of "
        "the latents and compares methods of one generator."
    )
    for part, rows in results.parts.items():
        names = results.measures(part)
        plain = [name for name in names if "/" not in name]
        found += ["", f"## {part}", ""]
        found += [REDRAWN, ""] if part.endswith(budgets.REDRAWN_AS) else []
        found += _table(rows, plain)
        for group in (name for name in BY_ATTRIBUTE if name in names):
            single = [name for name in names if name.startswith(f"{group}/")]
            found += ["", f"{group}, by attribute:", "", *_table(rows, single)]
    if verdicts:
        found += ["", *claims_section(verdicts)]
    if domain.failed:
        found += ["", "## Failed", "", *_failed(domain.failed)]
    if notes:
        found += ["", "## Notes", "", *[f"- {name}: {note}" for name, note in notes.items()]]
    if domain.absent:
        found += ["", "## Not at hand", ""]
        found += [f"- {name}: {remedy}" for name, remedy in domain.absent.items()]
    return "\n".join(found) + "\n"


def counted(verdicts: Mapping[str, Verdict]) -> str:
    words = [v.word for v in verdicts.values()]
    return ", ".join(f"{words.count(word)} {word}" for word in ("held", "not held", "not tested"))


def claims_section(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Every claim with its verdict, then all that was compared for it."""
    lines = ["## Claims", "", *claims_table(verdicts), "", "### Claims in detail"]
    for text, v in verdicts.items():
        lines += ["", f"**{text}**: {v.word}", "", *(f"- {d}" for d in v.details or (v.deciding,))]
    return lines


def claims_table(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Verdicts with the one comparison that decided each, and how many are held."""
    return [f"{counted(verdicts)}. {how(verdicts)}", "", *verdict_rows(verdicts, has_notes=True)]


def how(verdicts: Mapping[str, Verdict]) -> str:
    """How the claims were tested, as a reader of the table has to know it."""
    num = sum(v.p_holm is not None for v in verdicts.values())
    return (
        "Paired t-tests over images (of codes over attributes, of samples over groups of them, of "
        "time a sign test). A claim is held where the difference has the claimed sign and the "
        f"p-value of the whole claim, corrected by Holm's method for {num} claims, is below "
        f"{SURE}. Verdicts inside the details are not corrected."
    )


def verdict_rows(verdicts: Mapping[str, Verdict], *, has_notes: bool = False) -> list[str]:
    """A table: a row a claim; with what is known of why one is not held, where that is asked."""
    first: dict[str, str] = {}  # what decided => the claim that it decided first
    rows = ["| claim | here | decided by | p, corrected |", "|---|---|---|---|"]
    for text, v in verdicts.items():
        other = first.setdefault(v.deciding, text)
        twice = f"; the same test decides “{other}”" if other != text else ""
        lost = "; held before the correction" if is_lost(v) else ""
        note = f". {v.note}" if has_notes and v.note else ""
        told = f"{v.deciding}{lost}{twice}{note}"
        rows.append(f"| {text} | **{v.word}** | {told} | {corrected_p(v)} |")
    return rows


def corrected_p(verdict: Verdict) -> str:
    """Empty where the claim failed before the correction, or no test decides it."""
    is_open = verdict.p is not None and verdict.p < SURE
    return f"{verdict.p_holm:.2g}" if is_open and verdict.p_holm is not None else ""


def spread_in(name: str, values: Values) -> Spread:
    """Of a measure; LEC without its extremes, as it is published."""
    if name.partition("/")[0] in (LEC, LEC_SHARE) and bool((~np.isnan(values)).any()):
        values = trimmed(torch.from_numpy(values)).numpy()
    return spread_of(values)


def _failed(failed: Mapping[str, str]) -> list[str]:
    """What broke while it ran; the text of an error on one line, without the table's own bars."""
    lines = ["| method | reason |", "|---|---|"]
    for name, reason in failed.items():
        lines.append(f"| {name} | {' '.join(reason.split()).replace('|', chr(92) + '|')} |")
    return lines


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
        spreads = {name: spread_in(name, columns[name]) for name in names if name in columns}
        cells = [cell(spreads[name]) if name in spreads else "" for name in names]
        counts = sorted({s.n for name, s in spreads.items() if len(columns[name]) > 1} or {1})
        n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        lines.append(f"| {arm} | " + " | ".join(cells) + f" | {n} |")
    return lines


def _spreads(columns: Mapping[str, Values]) -> dict[str, list[float | None]]:
    spreads = {
        name: spread_in(name, values)
        for name, values in columns.items()
        if name.partition("/")[0] != PICTURE
    }
    return {name: [s.n, *map(_plain, s[1:])] for name, s in spreads.items()}


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\s*\n\s*", " ", match[1]) + "]"


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
