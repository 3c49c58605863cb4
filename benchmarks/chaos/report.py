"""The table of what was tried, for a terminal and for docs/."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.chaos.flips import FLIPS
from benchmarks.chaos.trials import Tally

COLUMNS = ("fault", "tried", "stores", "equal", "lost", "unnoticed", "minutes", "notes")
Row = dict[str, Any]


def row_of(tally: Tally) -> Row:
    return {
        "fault": tally.name,
        "tried": tally.tried,
        "stores": tally.stores,
        "equal": tally.equal,
        "lost": tally.lost,
        "unnoticed": tally.unnoticed if tally.name == FLIPS else "",
        "minutes": round(tally.elapsed_s / 60, 1),
        "notes": ", ".join(f"{number} {name}" for name, number in tally.notes.items()),
    }


def table(rows: Iterable[Row], columns: Sequence[str] = COLUMNS) -> str:
    """Markdown."""
    lines = [columns, ["---"] * len(columns), *([str(row[c]) for c in columns] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def keep(path: Path, tally: Tally, seed: int) -> None:
    """Put the figures of one kind into the page and the JSON file beside it; others stay."""
    held = path.with_suffix(".json")
    rows: dict[str, Row] = json.loads(held.read_text()) if held.exists() else {}
    command = f"`python -m benchmarks.chaos {tally.asked} --seed {seed}`"
    rows[tally.name] = row_of(tally) | {"command": command, "problems": tally.problems}
    held.write_text(json.dumps(rows, indent=1) + "\n")
    path.write_text(_page(list(rows.values())))


def _page(rows: list[Row]) -> str:
    found = [f"- {text}" for row in rows for text in row["problems"]]
    listed = ["Problems:\n", "\n".join(found)] if found else []
    parts = [PREFACE, table(rows), table(rows, ("fault", "command")), LEGEND, *listed]
    return "\n".join(parts)


PREFACE = """# Kills, races, bit flips, outages and full disks

On two shared CPU cores; minutes are wall-clock. The chain is the toy recipe of
`benchmarks/chaos/chain.py`: every stage from files to a set in three formats, two shards, two
broken files, a method whose rows have states. After every fault the same command runs to its end.
Then every column of every table, every footer but for run ids and times, and every file of every
exported set is compared with a run that nothing disturbed; `invertory verify` has to agree, and no
chunk or temporary file may be left over.
"""
LEGEND = """\
*kill -9*: `invertory run` is killed once it has used a random share of a whole run's CPU time, up
to six times a store. *race*: two or four processes run the recipe at once, in an empty store and
an empty DAGSTER_HOME. *bit flip*: one bit of one file of the store, whether of tables, rejects,
states, entries or sets; it is noticed when `verify` names the file and no reader gets other
values from it. One more flip for every 50 stays, and `verify --repair` and `run` mend it. *S3
requests fail*: source and store are on a loopback S3 server, half of the failures are HTTP 503,
half a connection that is cut; the command is given again until it ends well. *full disk*: the
write that would not fit on a disk of random size raises ENOSPC; the run has to end with exit code
1 and say so. All commands run in children that are forked from a process that has imported
everything.
"""
