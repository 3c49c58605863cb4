"""Correct the claims of a written report again, from the p-values that it holds.

    python -m benchmarks.compare.recorded docs/compare/portraits.json --page docs/results.md

It rewrites the claims of the JSON, of the report beside it, and of a page's block `claims`.
Nothing is measured.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.compare import page, report
from benchmarks.compare.__main__ import NOTES
from benchmarks.compare.claims import noted
from benchmarks.compare.evidence import Verdict
from benchmarks.compare.holm import corrected

WORDS = {"held": True, "not held": False, "not tested": None}


def verdict_of(claim: Mapping[str, Any]) -> Verdict:
    """The verdict as the JSON holds it."""
    is_held, details = WORDS[claim["verdict"]], tuple(claim["details"])
    return Verdict(is_held, claim["deciding"], details, p=claim.get("p"))


def with_claims(text: str, verdicts: Mapping[str, Verdict]) -> str:
    """The report with its section of claims replaced."""
    lines = "\n".join(report.claims_section(verdicts))
    pattern = re.compile(r"^## Claims\n.*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)
    return pattern.sub(lambda _: f"{lines}\n\n", text).rstrip("\n") + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="the JSON file of a comparison")
    parser.add_argument("--page", type=Path, help="a page whose block of claims is filled")
    asked = parser.parse_args()
    told = json.loads(asked.report.read_text("utf-8"))
    found = corrected({text: verdict_of(claim) for text, claim in told["claims"].items()})
    verdicts = noted(found, NOTES)
    told["claims"] = report.claims_json(verdicts)
    asked.report.write_text(report.dumped(told), "utf-8")
    written = asked.report.with_suffix(".md")
    written.write_text(with_claims(written.read_text("utf-8"), verdicts), "utf-8")
    if asked.page:
        page.write(asked.page, {"claims": page.claims_table(verdicts)})
    print(f"{report.counted(verdicts)}; written to {asked.report.parent}")


if __name__ == "__main__":
    main()
