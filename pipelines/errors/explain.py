"""An error as one line: what was expected, what came, at which address, and the remedy."""

from __future__ import annotations

from typing import Final

from invertory.pipelines.errors.exit_codes import FAILED, NOT_FOUND
from invertory.pipelines.errors.rules import RULES, at, is_client, status_of
from invertory.resources.redaction import redacted

MAX_CHARS: Final = 900
OURS: Final = ("invertory",)


def explained(error: BaseException, address: str = "") -> str:
    """One line without secrets; `address` is where the error arose, if the error does not say."""
    if is_own(error):
        lines = [one_line(line, None) for line in own_words(error).splitlines()]
        between = "\n" if hasattr(error, "problems") else " "  # a recipe's have a line each
        return between.join(lines)
    where = address or _place_of(error)
    error = underlying_error(error)
    text = one_line(str(error) or type(error).__name__)
    for rule in RULES:
        if line := rule(error, text, where):
            return one_line(line)
    return one_line(
        f"{type(error).__name__}: {text}{at(where, text)}; this is a fault of Invertory: run the "
        "same command with --debug and report what it shows"
    )


def exit_code(error: BaseException) -> int:
    """The command's exit code for an error."""
    if (code := getattr(error, "exit_code", None)) is not None:
        return int(code)
    kinds = (FileNotFoundError, PermissionError, NotADirectoryError)
    return (
        NOT_FOUND
        if isinstance(underlying_error(error), kinds) or status_of(error) == 404
        else FAILED
    )


def underlying_error(error: BaseException) -> BaseException:
    """The error, or what fsspec took for a missing file: an answer of the host, or its silence."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or is_own(error) or cause is None:
        return error
    is_other = is_client(cause) or isinstance(cause, ConnectionError | TimeoutError)
    return cause if is_other and status_of(cause) not in (404, 410) else error


def is_own(error: BaseException) -> bool:
    """True for an error that our code raised with a message for people."""
    if type(error).__module__.split(".")[0] in OURS:
        return True
    may_be_own = isinstance(error, ValueError | OSError | RuntimeError | ImportError)
    return may_be_own and own_words(error).startswith("expected ") and _raised_in_ours(error)


def own_words(error: BaseException) -> str:
    """The message, without an errno in front of it and without the quotes of a KeyError."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)


def first_words(error: BaseException) -> str:
    """What the innermost cause says, without the statement that a database was given."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("[SQL:")[0].partition("(Background on")[0]


def one_line(text: str, max_chars: int | None = MAX_CHARS) -> str:
    """Without secrets and line breaks, and no longer than that."""
    line = " ".join(redacted(text).split())
    return line if max_chars is None or len(line) <= max_chars else f"{line[: max_chars - 3]}..."


def _raised_in_ours(error: BaseException) -> bool:
    trace = error.__traceback__
    if trace is None:  # it came from another process or thread
        return True
    while trace.tb_next:
        trace = trace.tb_next
    name = str(trace.tb_frame.f_globals.get("__name__", ""))
    return name.split(".")[0] in (*OURS, "__main__") or name.startswith("contextlib")


def _place_of(error: BaseException) -> str:
    """From the notes of `hiding_secrets`, or the file that an OSError names."""
    notes = [n for n in getattr(error, "__notes__", ()) if n.startswith("at ")]
    if notes:
        return str(notes[0])[3:]
    return str(getattr(error, "filename", None) or "")
