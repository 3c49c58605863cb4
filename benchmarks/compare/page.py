"""The comparison's tables on a page of the documentation, so that they never drift.

`--page docs/results.md` writes, for each name in `BLOCKS`, what stands between
`<!-- compare: <name> -->` and the next `<!-- compare: end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.compare import report
from benchmarks.compare.evidence import Verdict
from benchmarks.compare.reconstruction import AGREEMENT, IDENTITY, SECONDS, STATE
from benchmarks.compare.results import Results

PLAIN: Final = "portraits"
OBJECTS: Final = "portraits_ood"
BLOCKS: Final = ("methods", "claims")
WIDE: Final = {  # with the deviation
    "PSNR dB": "PSNR (dB)",
    "SSIM": "SSIM",
    "LPIPS (alex)": "lpips_alex",
    "classifier features": "portraits_classifier_features",
}
NARROW: Final = {"identity": IDENTITY, "agreement": AGREEMENT}


def fill(
    path: Path, methods: Sequence[str], results: Results, verdicts: Mapping[str, Verdict]
) -> None:
    """Rewrites the file's blocks; raises ValueError, and writes nothing, if one is missing."""
    write(path, {"methods": methods_table(methods, results), "claims": claims_table(verdicts)})


def write(path: Path, blocks: Mapping[str, Sequence[str]]) -> None:
    """Replaces the lines of each block that is named."""
    text = path.read_text("utf-8")
    for name, lines in blocks.items():
        text = filled(text, name, "\n".join(lines), str(path))
    path.write_text(text, "utf-8")


def filled(text: str, name: str, body: str, where: str) -> str:
    """The text with `body` between the block's two comments."""
    start, end = f"<!-- compare: {name} -->", "<!-- compare: end -->"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if len(pattern.findall(text)) != 1:
        raise ValueError(
            f"expected one block {name!r} in {where}, got {len(pattern.findall(text))}; write "
            f"{start} and {end} on lines of their own, where it should stand"
        )
    return pattern.sub(lambda _: f"{start}\n{body}\n{end}", text)


def methods_table(methods: Sequence[str], results: Results) -> list[str]:
    """A row a method that was measured: the first set, and the error of pictures with objects."""
    heads = [*WIDE, *NARROW, "PSNR dB with objects", "state, kB", "s an image"]
    lines = ["", "| method | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    for arm in methods:
        if arm in results.parts.get(PLAIN, {}):
            lines.append(f"| `{arm}` | " + " | ".join(_cells(results, arm)) + " |")
    return [*lines, ""]


def claims_table(verdicts: Mapping[str, Verdict]) -> list[str]:
    """Claims, verdicts and what decided them; the report has everything else that was compared."""
    return ["", f"{report.counted(verdicts)}.", "", *report.verdict_rows(verdicts), ""]


def _cells(results: Results, arm: str) -> list[str]:
    wide = [_cell(results, PLAIN, arm, measure) for measure in WIDE.values()]
    narrow = [_cell(results, PLAIN, arm, measure).split(" ")[0] for measure in NARROW.values()]
    objects = _cell(results, OBJECTS, arm, WIDE["PSNR dB"])
    state = results.parts[PLAIN][arm].get(STATE)
    kb = "-" if state is None else f"{report.spread_in(STATE, state).mean / 1000:.1f}"
    kb = "0" if kb == "0.0" else kb
    return [*wide, *narrow, objects, kb, _cell(results, PLAIN, arm, SECONDS)]


def _cell(results: Results, part: str, arm: str, measure: str) -> str:
    values = results.parts.get(part, {}).get(arm, {}).get(measure)
    return "-" if values is None else report.cell(report.spread_in(measure, values))
