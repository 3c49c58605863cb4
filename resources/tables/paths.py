"""The names of tables and shards in a store, and where their files lie."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec

from invertory.resources.addresses import Address, expanded
from invertory.resources.filesystems import is_local, list_folder
from invertory.resources.footers import check_name
from invertory.resources.lock_folders import store_lock
from invertory.resources.redaction import hiding_secrets, redacted
from invertory.resources.tables.siblings import STATES

CHUNKS = "_parts"  # folder of a table
SETS = "sets"  # folder of the exported sets, beside those of the tables
LOCK = ".lock"


class TablePaths:
    """The tables of one recipe. `root` is a local path or a URL that fsspec knows."""

    def __init__(self, root: str, recipe: str, **storage_options: Any) -> None:
        with hiding_secrets(Address(root)):
            self.fs, base = fsspec.core.url_to_fs(expanded(root), **storage_options)
        self.base = f"{base.rstrip('/')}/{check_name(recipe, 'recipe')}"

    def shards(self, table: str) -> list[str]:
        """Names of the published shards, sorted."""
        names = (path.rsplit("/", 1)[-1] for path in list_folder(self.fs, self.folder(table)))
        return [name[: -len(".parquet")] for name in names if _is_table_file(name)]

    def tables(self) -> list[str]:
        """Names of the tables that have a shard, sorted; a method's is `latents/<method>`."""
        self.fs.invalidate_cache()
        return sorted(self._tables_in(""))

    def folder(self, table: str) -> str:
        """The folder of a table."""
        return "/".join([self.base, *(check_name(name, "table") for name in table.split("/"))])

    def path(self, table: str, shard: str, folder: str = "") -> str:
        """The file of a shard in `fs`: its rows, or the sibling in one of `siblings.FOLDERS`."""
        return f"{self.folder(table)}/{folder}{check_name(shard, 'shard')}.parquet"

    def state_path(self, table: str, shard: str) -> str:
        """The file of the states of a shard's rows."""
        return self.path(table, shard, STATES)

    def chunk_folder(self, table: str, shard: str, key: str) -> str:
        """Where the chunks of an unfinished shard lie."""
        name = f"{check_name(shard, 'shard')}-{key[:16].replace('-', '_')}"
        return f"{self.folder(table)}/{CHUNKS}/{name}"

    def chunk_folders(self, table: str) -> list[str]:
        """Paths of the chunk folders of every shard."""
        return list_folder(self.fs, f"{self.folder(table)}/{CHUNKS}")

    def uri(self, table: str, shard: str) -> str:
        """Where the file of a shard lies: a path on this host, else a URL."""
        path = self.path(table, shard)
        return path if is_local(self.fs) else redacted(self.fs.unstrip_protocol(path))

    def lock_path(self, table: str, name: str) -> Path:
        """The file to lock for `name`: in the table's folder, or this user's for a URL."""
        if not is_local(self.fs):
            return store_lock(self.uri(table, name))
        folder = Path(self.folder(table))
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f".{check_name(name, 'lock')}{LOCK}"

    def locked_names(self, table: str) -> list[str]:
        """Names with a lock file in the table's folder, held or left by a killed process."""
        if not is_local(self.fs):
            return []
        found = Path(self.folder(table)).glob(f".*{LOCK}")
        return [path.name[1:].removesuffix(LOCK) for path in found]

    def _tables_in(self, table: str) -> Iterator[str]:
        """`table` if it has a shard, and the tables below it; exported sets are no tables."""
        folder = f"{self.base}/{table}".rstrip("/")
        has_shards = False
        with contextlib.suppress(FileNotFoundError):
            for found in self.fs.ls(folder, detail=True):
                name = found["name"].rstrip("/").rsplit("/", 1)[-1]
                if found["type"] == "directory":
                    if name[0] not in "._" and (table or name != SETS):
                        yield from self._tables_in(f"{table}/{name}".lstrip("/"))
                else:
                    has_shards = has_shards or _is_table_file(name)
        if table and has_shards:
            yield table


def _is_table_file(name: str) -> bool:
    return name.endswith(".parquet") and name[0] not in "._"
