"""DAGSTER_HOME: its dagster.yaml, and its databases, which one process at a time may create."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from invertory.pipelines.errors.explain import one_line, root_cause_message
from invertory.resources.locks import Waiting, holding

REPOSITORY_FOLDER = Path(__file__).resolve().parents[2]
DIGEST_FILE = ".dagster.yaml.sha256"  # of the repository's file at the last check
OLD_DIGEST_PREFIX = "249da66812e5242d"  # digest prefix in homes that are older than `DIGEST_FILE`


def dagster_home() -> Path:
    """Return `DAGSTER_HOME`, or `.dagster` in the current directory, with a dagster.yaml in it."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(Path(".dagster").resolve())))
    home.mkdir(parents=True, exist_ok=True)
    if not _is_current(home):
        with _creation_lock(home, _warn):
            _update_config(home)
    return home


class InstanceError(RuntimeError):
    """Raised if Dagster's instance cannot be opened."""


@contextlib.contextmanager
def open_instance(waiting: Waiting | None = None) -> Iterator[dg.DagsterInstance]:
    """Open the instance of `DAGSTER_HOME`; raises InstanceError with the reason if it cannot.

    Dagster creates missing SQLite databases when it opens them, and fails if two processes do so at
    once; here the second process waits for the first.
    """
    with _creation_lock(dagster_home(), waiting or _warn):
        instance = _load_instance(dagster_home())
    with instance:
        yield instance


def _load_instance(home: Path) -> dg.DagsterInstance:
    try:
        instance = dg.DagsterInstance.get()
        instance.get_runs(limit=1)
    except Exception as error:  # from yaml, Dagster, SQLAlchemy or a database driver
        raise InstanceError(
            f"expected Dagster's instance of {home} to open, got: "
            f"{one_line(root_cause_message(error))}; correct {home / 'dagster.yaml'}, or start "
            "the database that it names"
        ) from error
    return instance


@contextlib.contextmanager
def _creation_lock(home: Path, waiting: Waiting) -> Iterator[None]:
    with holding(home / ".lock", f"the databases of {home}", waiting=waiting):
        yield


def _is_current(home: Path) -> bool:
    digest_file = home / DIGEST_FILE
    return (
        (home / "dagster.yaml").exists()
        and digest_file.exists()
        and digest_file.read_text() == _source()[1]
    )


def _update_config(home: Path) -> None:
    """Update the home's dagster.yaml from the repository, unless it was edited."""
    data, digest = _source()
    copy, digest_file = home / "dagster.yaml", home / DIGEST_FILE
    known = digest_file.read_text() if digest_file.exists() else ""
    if not copy.exists():
        copy.write_bytes(data)
    elif copy.read_bytes() != data:
        own = hashlib.sha256(copy.read_bytes()).hexdigest()
        if own == known or own.startswith(OLD_DIGEST_PREFIX):
            copy.write_bytes(data)
            _warn(f"{copy} was updated, since {REPOSITORY_FOLDER / 'dagster.yaml'} has changed")
        else:
            _warn(
                f"{copy} is used and differs from {REPOSITORY_FOLDER / 'dagster.yaml'}, which is "
                "not used; edit the former, or delete it to copy the latter"
            )
    digest_file.write_text(digest)


def _source() -> tuple[bytes, str]:
    data = (REPOSITORY_FOLDER / "dagster.yaml").read_bytes()
    return data, hashlib.sha256(data).hexdigest()


def _warn(text: str) -> None:
    print(f"invertory: note: {text}", file=sys.stderr)
