"""DAGSTER_HOME: its dagster.yaml, and its databases, which one process at a time may create."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from invertory.pipelines.errors.explain import first_words, one_line
from invertory.resources.locks import Waiting, holding

HOUSE = Path(__file__).resolve().parents[2]
SEEN = ".dagster.yaml.sha256"  # digest of HOUSE / "dagster.yaml" at the last check
SHIPPED = "249da66812e5242d"  # digest prefix in homes that are older than `SEEN`


def dagster_home() -> Path:
    """Return `DAGSTER_HOME`, or `.dagster` in the current directory, with a dagster.yaml in it."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path(".dagster").resolve())))
    home.mkdir(parents=True, exist_ok=True)
    if not _is_current(home):
        with _created_by_one(home, _complain):
            _follow(home)
    return home


class InstanceError(RuntimeError):
    """Raised if Dagster's instance cannot be opened."""


@contextlib.contextmanager
def open_instance(waiting: Waiting | None = None) -> Iterator[dg.DagsterInstance]:
    """Open the instance of `DAGSTER_HOME`; raises InstanceError with the reason if it cannot.

    Dagster creates missing SQLite databases when it opens them, and fails if two processes do so at
    once; here the second process waits for the first.
    """
    with _created_by_one(dagster_home(), waiting or _complain):
        instance = _opened(dagster_home())
    with instance:
        yield instance


def _opened(home: Path) -> dg.DagsterInstance:
    try:
        instance = dg.DagsterInstance.get()
        instance.get_runs(limit=1)
    except Exception as error:  # from yaml, Dagster, SQLAlchemy or a database driver
        raise InstanceError(
            f"expected Dagster's instance of {home} to open, got: {one_line(first_words(error))}; "
            f"correct {home / 'dagster.yaml'}, or start the database that it names"
        ) from error
    return instance


@contextlib.contextmanager
def _created_by_one(home: Path, waiting: Waiting) -> Iterator[None]:
    with holding(home / ".lock", f"the databases of {home}", waiting=waiting):
        yield


def _is_current(home: Path) -> bool:
    seen = home / SEEN
    return (home / "dagster.yaml").exists() and seen.exists() and seen.read_text() == _source()[1]


def _follow(home: Path) -> None:
    """Update the home's dagster.yaml from the repository, unless it was edited."""
    data, digest = _source()
    copy, seen = home / "dagster.yaml", home / SEEN
    known = seen.read_text() if seen.exists() else ""
    if not copy.exists():
        copy.write_bytes(data)
    elif copy.read_bytes() != data:
        own = hashlib.sha256(copy.read_bytes()).hexdigest()
        if own == known or own.startswith(SHIPPED):
            copy.write_bytes(data)
            _complain(f"{copy} was updated, since {HOUSE / 'dagster.yaml'} has changed")
        else:
            _complain(
                f"{copy} is used and differs from {HOUSE / 'dagster.yaml'}, which is not used; "
                "edit the former, or delete it to copy the latter"
            )
    seen.write_text(digest)


def _source() -> tuple[bytes, str]:
    data = (HOUSE / "dagster.yaml").read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def _complain(text: str) -> None:
    print(f"invertory: note: {text}", file=sys.stderr)
