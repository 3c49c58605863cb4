"""What killed processes leave in a table's folder, and its removal."""

import contextlib
from collections.abc import Iterator

from invertory.resources import provisional
from invertory.resources.atomic import sweep
from invertory.resources.locks import holding
from invertory.resources.tables.paths import LOCK
from invertory.resources.tables.reading import TableReader
from invertory.resources.tables.siblings import FOLDERS


def tidy(store: TableReader, table: str) -> None:
    """Remove the chunks of shards that are done, and locks that nobody holds."""
    for path in store.chunk_folders(table):
        name = path.rsplit("/", 1)[-1]
        if name.endswith(LOCK):  # of an earlier version
            store.fs.rm_file(path)
        else:
            _tidy_chunks(store, table, name.rpartition("-")[0], path)
    for name in store.locked_names(table):
        with _held_if_free(store, table, name):
            pass  # a lock file is removed when it is released


def sweep_table(store: TableReader, table: str) -> None:
    """Remove the temporary files of processes that do not live any more."""
    folder = store.folder(table)
    beside = (f"{folder}/{name.rstrip('/')}" for name in FOLDERS)
    for path in (folder, *beside, *store.chunk_folders(table)):
        sweep(store.fs, path)


def drop_chunks(store: TableReader, table: str, shard: str) -> None:
    """Remove the chunks of a shard under any key."""
    for path in store.chunk_folders(table):
        if path.rsplit("/", 1)[-1].rpartition("-")[0] == shard:
            _drop_folder(store, path)


def _tidy_chunks(store: TableReader, table: str, shard: str, path: str) -> None:
    """Remove the chunk folder at `path` if the shard was made of it."""
    with _held_if_free(store, table, shard) as is_free:
        footer = store.footer(table, shard) or {}
        if not is_free or not (key := footer.get("key")):
            return
        name = path.rsplit("/", 1)[-1]
        owner = store.chunk_folder(table, shard, key).rpartition("/")[2]
        mark = provisional.attempt_mark(footer, provisional.base_key(key))
        if name.startswith(owner) and not (mark and name == owner + mark):
            _drop_folder(store, path)


@contextlib.contextmanager
def _held_if_free(store: TableReader, table: str, name: str) -> Iterator[bool]:
    """Hold a lock of the table; False where another process has it."""
    with contextlib.ExitStack() as stack:
        lock = holding(store.lock_path(table, name), f"{table} of {name}", timeout_s=0)
        try:
            stack.enter_context(lock)
        except TimeoutError:
            yield False
            return
        yield True


def _drop_folder(store: TableReader, path: str) -> None:
    with contextlib.suppress(OSError):  # in use again: the next publication removes it
        store.fs.rm(path, recursive=True)
