"""Compare a store with its checksums, one file at a time."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invertory.resources.parquet import read_footer, read_metadata, verify_file
from invertory.resources.seals import CorruptFileError

if TYPE_CHECKING:
    from invertory.resources.tables import Store

SET_ASIDE = "_corrupt"  # folder of a recipe's store


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that a store needs; `reason` says what is wrong with it, or is empty."""

    path: str
    table: str
    shard: str
    reason: str = ""


def check_store(store: "Store") -> Iterator[Checked]:
    """Compare every byte of tables, of the files beside them and of sets, in constant memory."""
    for table in store.tables():
        for shard in store.shards(table):
            yield from check_shard(store, table, shard)


def check_shard(store: "Store", table: str, shard: str) -> Iterator[Checked]:
    """Compare the shard's own file, then those that its footer names."""
    path = store.path(table, shard)
    own = _checked(store, path, table, shard)
    yield own
    if own.reason or (metadata := read_metadata(store.fs, path)) is None:
        return
    footer = read_footer(metadata)
    lost = set(store.sibling_faults(table, shard, footer))
    for beside in sorted(lost | set(store.siblings(table, shard))):
        found = _checked(store, beside, table, shard)
        if not found.reason and beside in lost:
            found = Checked(beside, table, shard, "its rows are not those of its table file")
        yield found
    for path, reason in store.set_faults(table, shard, footer, is_thorough=True):
        yield Checked(path, table, shard, reason)


def set_aside(store: "Store", path: str) -> str | None:
    """Move a corrupt table file out of the store; None where it is sound or gone.

    The file is verified again first, as one that is just being replaced reads as corrupt.
    """
    try:
        verify_file(store.fs, path)
    except FileNotFoundError:
        return None
    except CorruptFileError:
        return move_aside(store, path)
    return None


def move_aside(store: "Store", path: str) -> str | None:
    """Move a file of the store to `_corrupt/`, where nothing reads it; returns its new path."""
    target = f"{store.base}/{SET_ASIDE}/{path.removeprefix(store.base + '/')}"
    store.fs.makedirs(target.rpartition("/")[0], exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        store.fs.mv(path, target)
        return target
    return None


def num_set_aside(store: "Store") -> int:
    """Files that were moved to `_corrupt/` since the store was created."""
    store.fs.invalidate_cache()
    return len(store.fs.find(f"{store.base}/{SET_ASIDE}"))


def _checked(store: "Store", path: str, table: str, shard: str) -> Checked:
    try:
        verify_file(store.fs, path)
    except FileNotFoundError:
        return Checked(path, table, shard, "it is missing")
    except CorruptFileError as error:
        return Checked(path, table, shard, error.reason)
    return Checked(path, table, shard)
