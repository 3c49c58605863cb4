"""DAGSTER_HOME: its dagster.yaml, and its databases, which one process at a time creates."""

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
SEEN = ".dagster.yaml.sha256"  # of HOUSE / "dagster.yaml" as it was when it was last looked at
SHIPPED = "249da66812e5242d"  # what homes have that were made before `SEEN` was written


def dagster_home() -> Path:
    """`DAGSTER_HOME`, or `.dagster` here, with a dagster.yaml in it."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path(".dagster").resolve())))
    home.mkdir(parents=True, exist_ok=True)
    if not _is_current(home):
        with _created_by_one(home, _complain):
            _follow(home)
    return home


class InstanceError(RuntimeError):
    """Dagster's instance cannot be opened."""


@contextlib.contextmanager
def open_instance(waiting: Waiting | None = None) -> Iterator[dg.DagsterInstance]:
    """The instance of `DAGSTER_HOME`; InstanceError says what keeps it from opening.

    Dagster creates missing SQLite databases when it opens them, and fails where two processes do
    so at once; here the second waits for the first.
    """
    with _created_by_one(dagster_home(), waiting or _complain):
        instance = _opened(dagster_home())
    with instance:
        yield instance


def _opened(home: Path) -> dg.DagsterInstance:
    try:
        instance = dg.DagsterInstance.get()
        instance.get_runs(limit=1)
    except Exception as error:  # of yaml, Dagster, SQLAlchemy and the drivers of databases
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
    """Give the home the repository's dagster.yaml, unless the home's own was edited."""
    data, digest = _source()
    copy, seen = home / "dagster.yaml", home / SEEN
    known = seen.read_text() if seen.exists() else ""
    if not copy.exists():
        copy.write_bytes(data)
    elif copy.read_bytes() != data:
        own = hashlib.sha256(copy.read_bytes()).hexdigest()
        if own == known or own.startswith(SHIPPED):
            copy.write_bytes(data)
            _complain(f"{copy} follows {HOUSE / 'dagster.yaml'}, which has changed")
        else:
            _complain(
                f"{copy} is read and differs from {HOUSE / 'dagster.yaml'}, which is not; edit the "
                "former, or delete it to have a copy of the latter"
            )
    seen.write_text(digest)


def _source() -> tuple[bytes, str]:
    data = (HOUSE / "dagster.yaml").read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def _complain(text: str) -> None:
    print(f"invertory: note: {text}", file=sys.stderr)
