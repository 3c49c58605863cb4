"""The options and the output of a command: tables for people, JSON for scripts."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from invertory.pipelines.errors.exit_codes import OK
from invertory.resources.redaction import redacted

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress

Command = Callable[[argparse.Namespace], int]


def add_command(commands: Any, name: str, run: Command, text: str) -> argparse.ArgumentParser:
    """Add a parser for `name` to `commands`; `run` returns the exit code."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser.set_defaults(command=run)
    return parser


def print_result(
    options: argparse.Namespace, result: Any, print_text: Callable[[Any], object], code: int = OK
) -> int:
    """Print `result` as JSON with --json, else with `print_text`; return `code`."""
    if options.json:
        print(redacted(json.dumps(result, indent=2, default=str)))
    else:
        print_text(result)
    return code


def print_error(problem: object, code: int) -> int:
    """Print a problem on one line of stderr; return `code`."""
    print(redacted(f"invertory: {problem}"), file=sys.stderr)
    return code


def is_debugging() -> bool:
    """Return True if tracebacks are enabled: --debug, or INVERTORY_DEBUG=1 in the environment."""
    return os.environ.get("INVERTORY_DEBUG", "") not in {"", "0"}


@contextlib.contextmanager
def debugging(is_enabled: bool) -> Iterator[None]:
    """Enable tracebacks for the block and for the processes that it starts."""
    previous = os.environ.get("INVERTORY_DEBUG")
    if is_enabled:
        os.environ["INVERTORY_DEBUG"] = "1"
    try:
        yield
    finally:
        if is_enabled and previous is None:
            os.environ.pop("INVERTORY_DEBUG", None)


def fail(options: argparse.Namespace, error: Exception) -> int:
    """Print an error on one line of stderr, and as JSON with --json; return its exit code."""
    from invertory.pipelines.errors.explain import exit_code, explain_error
    from invertory.resources.redaction import scrubbed

    code, text = exit_code(error), explain_error(error)
    if options.json:
        description = {"kind": type(error).__name__, "message": text, "exit_code": code}
        print(redacted(json.dumps({"error": description}, indent=2)))
    if is_debugging():
        lines = traceback.format_exception(scrubbed(error))
        print(redacted("".join(lines)), file=sys.stderr, end="")
    return print_error(text, code)


def make_progress(options: argparse.Namespace) -> Progress:
    """Return progress bars for people; with --json, only notes about waiting on stderr."""
    from invertory.pipelines.progress.display import NotesOnly, RichProgress

    return NotesOnly() if options.json else RichProgress()
