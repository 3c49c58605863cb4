"""Tables and values as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any

NOTICE = "<!-- Made of the code by `make reference`. Edit the docstrings, not this page. -->"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table with an empty line after it."""
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    return [*lines, ""]


def cell(text: str) -> str:
    """The text on one line, its bars escaped."""
    return " ".join(text.split()).replace("|", "\\|")


def code(value: Any) -> str:
    """A value as a recipe writes it."""
    return f"`{written(value)}`"


def written(value: Any) -> str:
    """YAML in one line: null, true, numbers, words, lists and mappings."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {written(part)}" for name, part in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, int) and abs(value) >= 10_000:
        return f"{value:_}"
    if isinstance(value, str | PurePath):
        return str(value) or '""'
    return f"{value:g}" if isinstance(value, float) else str(value)
