"""Explain an error on one line: what was expected, what came, the address and the remedy."""

from __future__ import annotations

from typing import Final

from invertory.pipelines.errors.exit_codes import FAILED, NOT_FOUND
from invertory.pipelines.errors.rules import RULES, at, is_client, status_of
from invertory.resources.redaction import redacted

MAX_CHARS: Final = 900
OURS: Final = ("invertory",)


def explain_error(error: BaseException, address: str = "") -> str:
    """Return one line without secrets; `address` is used if the error does not mention one."""
    if is_own(error):
        lines = [one_line(line, None) for line in own_message(error).splitlines()]
        between = (
            "\n" if hasattr(error, "problems") else " "
        )  # problems of a recipe have one line each
        return between.join(lines)
    where = address or _address_of(error)
    error = underlying_error(error)
    text = one_line(str(error) or type(error).__name__)
    for rule in RULES:
        if line := rule(error, text, where):
            return one_line(line)
    return one_line(
        f"{type(error).__name__}: {text}{at(where, text)}; this is a bug in Invertory: run the "
        "same command with --debug and report the output"
    )


def exit_code(error: BaseException) -> int:
    """Return the command's exit code for an error."""
    if (code := getattr(error, "exit_code", None)) is not None:
        return int(code)
    kinds = (FileNotFoundError, PermissionError, NotADirectoryError)
    return (
        NOT_FOUND
        if isinstance(underlying_error(error), kinds) or status_of(error) == 404
        else FAILED
    )


def underlying_error(error: BaseException) -> BaseException:
    """Return the HTTP or network error that fsspec reported as a missing file, or the error."""
    cause = error.__cause__
    if not isinstance(error, FileNotFoundError) or is_own(error) or cause is None:
        return error
    is_other = is_client(cause) or isinstance(cause, ConnectionError | TimeoutError)
    return cause if is_other and status_of(cause) not in (404, 410) else error


def is_own(error: BaseException) -> bool:
    """Return True for an error that our code raised with a message for users."""
    if type(error).__module__.split(".")[0] in OURS:
        return True
    may_be_own = isinstance(error, ValueError | OSError | RuntimeError | ImportError)
    return may_be_own and own_message(error).startswith("expected ") and _raised_in_ours(error)


def own_message(error: BaseException) -> str:
    """Return the message, without the errno prefix or the quotes of a KeyError."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({error.filename})" if error.filename else error.strerror
    return str(error.args[0]) if isinstance(error, LookupError) and error.args else str(error)


def root_cause_message(error: BaseException) -> str:
    """Return the message of the innermost cause, without the SQL statement."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error).partition("[SQL:")[0].partition("(Background on")[0]


def one_line(text: str, max_chars: int | None = MAX_CHARS) -> str:
    """Redact secrets, join the lines and cut the text to `max_chars`."""
    line = " ".join(redacted(text).split())
    return line if max_chars is None or len(line) <= max_chars else f"{line[: max_chars - 3]}..."


def _raised_in_ours(error: BaseException) -> bool:
    trace = error.__traceback__
    if trace is None:  # it comes from another process or thread
        return True
    while trace.tb_next:
        trace = trace.tb_next
    name = str(trace.tb_frame.f_globals.get("__name__", ""))
    return name.split(".")[0] in (*OURS, "__main__") or name.startswith("contextlib")


def _address_of(error: BaseException) -> str:
    """Return the address in a note of `hiding_secrets`, or the file name of an OSError."""
    notes = [n for n in getattr(error, "__notes__", ()) if n.startswith("at ")]
    if notes:
        return str(notes[0])[3:]
    return str(getattr(error, "filename", None) or "")
