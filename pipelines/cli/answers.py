"""How a command is offered, and how it answers: with tables for people, JSON for a script."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress

OK, FAILED, USAGE, NOT_FOUND, NO_WEIGHTS = range(5)  # exit codes; cli.py says what they mean
Command = Callable[[argparse.Namespace], int]


def add_command(commands: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """A parser for `name` among `commands`; `run` gives the exit code."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    made.add_argument("--json", action="store_true", help="print JSON for a script")
    made.set_defaults(command=run)
    return made


def answer(
    options: argparse.Namespace, found: Any, tell: Callable[[Any], object], code: int = OK
) -> int:
    """`found` as JSON where that was asked for, told in words where not; gives back `code`."""
    if options.json:
        print(json.dumps(found, indent=2, default=str))
    else:
        tell(found)
    return code


def complain(problem: object, code: int) -> int:
    """One line of what is wrong, on stderr; gives back `code`."""
    print(f"invertory: {problem}", file=sys.stderr)
    return code


def progress_of(options: argparse.Namespace) -> Progress:
    """Bars for people; a script is told on stderr what it waits for, and no more."""
    from invertory.pipelines.progress.display import NotesOnly, RichProgress

    return NotesOnly() if options.json else RichProgress()
