"""The footer of a published shard: what the caller stores there, and what the store adds."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import pyarrow as pa

SCHEMA_VERSION = "1"
RESERVED = frozenset({
    "key", "table", "shard", "schema_version", "created_utc", "num_inputs", "rejects", "elapsed_s",
    "siblings", "checksums", "seal", "totals",
})  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=-]*")


@dataclass(frozen=True, slots=True)
class Published:
    """A finished shard in figures.

    `rejects` counts by status, `elapsed_s` adds up all attempts, and `totals` has the figures that
    an `Accumulator` added up, by name.
    """

    table: str
    shard: str
    key: str
    num_inputs: int
    num_rows: int
    rejects: dict[str, int]
    elapsed_s: float
    reused: bool
    size_bytes: int
    uri: str
    totals: dict[str, Any]


class Accumulator(Protocol):
    """Adds up figures of a shard from its rows and rejects (see `invertory.ops.totals`)."""

    @property
    def columns(self) -> Sequence[str]:
        """The columns of the table that it reads."""
        ...

    def add_rows(self, rows: pa.RecordBatch) -> None: ...
    def add_rejects(self, rejects: pa.RecordBatch) -> None: ...

    def figures(self) -> dict[str, Any]:
        """JSON-able values by name; the names are the same whatever was added."""
        ...


def check_name(name: str, what: str) -> str:
    """`name` if it can be part of a path on any filesystem; ValueError otherwise."""
    if not NAME.fullmatch(name):
        raise ValueError(
            f"expected a {what} name of letters, digits and . _ = - that starts with a letter or "
            f"a digit, got {name!r}; rename it"
        )
    return name


def check_footer(footer: Mapping[str, Any], key: str) -> dict[str, str]:
    """The caller's entries and the key; raises where a value is no str or a name is reserved."""
    taken = sorted(RESERVED & set(footer))
    if taken:
        raise ValueError(f"footer keys {taken} are written by the store; rename yours")
    wrong = {name: type(value).__name__ for name, value in footer.items() if type(value) is not str}
    if wrong:
        raise TypeError(f"expected footer values of type str, got {wrong}; use json.dumps")
    check_name(key[:16], "key")
    return {**footer, "key": key}


def complete_footer(
    footer: Mapping[str, str],
    table: str,
    shard: str,
    num_inputs: int,
    rejects: Mapping[str, int],
    elapsed_s: float,
) -> dict[str, str]:
    """The caller's entries with those of the store. `rejects` counts by status."""
    return {
        **footer,
        "table": table,
        "shard": shard,
        "schema_version": SCHEMA_VERSION,
        "created_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "num_inputs": str(num_inputs),
        "rejects": json.dumps(dict(sorted(rejects.items()))),
        "elapsed_s": f"{elapsed_s:.3f}",
    }


def totals_entry(accumulator: Accumulator) -> dict[str, str]:
    """The footer entry of an accumulator's figures."""
    return {"totals": json.dumps(accumulator.figures(), allow_nan=False)}
