"""Entries: the listed files of a collection, their names as URIs, and how they are split in shards.

In a URI `%`, `::`, control characters and bytes that are not valid UTF-8 are percent-encoded, so
that every possible file name has a URI, and a bare `::` follows only a container.
"""

import re
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

SEPARATOR = "::"  # path.tar::member, path.parquet::row
SPECIAL = re.compile("%|::|[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
ENCODED = re.compile("(?:%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A listed file; `modified` comes from the filesystem, usually a UTC time, or is None."""

    uri: str
    size_bytes: int | None = None
    modified: str | None = None


def encode(name: str) -> str:
    """Encode a path or URL as a URI; names that are not UTF-8 are as `os.fsdecode` returns them."""
    return SPECIAL.sub(lambda match: _percent(match.group()), name)


def decode(uri: str) -> str:
    """Return the path or URL behind a URI: `decode(encode(name)) == name`."""
    return ENCODED.sub(lambda match: _plain(match.group()), uri)


def is_hidden(path: str) -> bool:
    """Return True if a component of a relative path begins with a dot."""
    return any(part.startswith(".") and part not in {".", ".."} for part in path.split("/"))


def deal(
    entries: Iterable[Entry], known: Set[Entry], shard_size: int, first_number: int = 1
) -> Iterator[tuple[str, list[Entry]]]:
    """Split new entries into shards `shard-000001`, ... from `first_number` on; skip known ones.

    A file whose size or time has changed is a new entry.
    """
    if shard_size < 1:
        raise ValueError(f"expected a shard size of 1 or more, got {shard_size}")
    pending: list[Entry] = []
    for entry in entries:
        if entry in known:
            continue
        pending.append(entry)
        if len(pending) == shard_size:
            yield f"shard-{first_number:06d}", pending
            pending, first_number = [], first_number + 1
    if pending:
        yield f"shard-{first_number:06d}", pending


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogateescape"))


def _plain(text: str) -> str:
    return bytes.fromhex(text.replace("%", "")).decode("utf-8", "surrogateescape")
