"""The files that a table file needs beside it: its rejects and the states of its rows.

The footer of the table file names them with a digest of their rows (`siblings`). A shard is done
only while all of them are there; where one is lost or was replaced, the shard is computed again.
"""

import json
from collections.abc import Callable, Iterator, Mapping

import fsspec

from invertory.resources.filesystems import list_folder
from invertory.resources.parquet import read_footer, read_metadata
from invertory.resources.seals import content_digest

REJECTS = "_rejects/"
STATES = "_state/"
FOLDERS = (REJECTS, STATES)
PathOf = Callable[[str], str]  # "" or a folder of FOLDERS => the shard's file there
HOW = ("code_version", "config", "models")  # footer entries that decide whether rows have states


def entry(digests: Mapping[str, str]) -> dict[str, str]:
    """The footer entry: siblings by folder, each with the digest of its rows."""
    return {"siblings": json.dumps(dict(sorted(digests.items())))}


def faults(
    fs: fsspec.AbstractFileSystem, footer: Mapping[str, str], path_of: PathOf
) -> Iterator[str]:
    """Paths of siblings that are missing, cannot be read or belong to other rows.

    It reads footers only; `invertory.resources.verification` reads the rest.
    """
    if "siblings" not in footer:
        yield from _faults_of_earlier(fs, footer, path_of)
        return
    for folder, digest in json.loads(footer["siblings"]).items():
        found = read_metadata(fs, path_of(folder))
        if found is None or content_digest(found) != digest:
            yield path_of(folder)


def _faults_of_earlier(
    fs: fsspec.AbstractFileSystem, footer: Mapping[str, str], path_of: PathOf
) -> Iterator[str]:
    """The same for a file of an earlier version, whose footer names no siblings."""
    num_rejects = sum(json.loads(footer.get("rejects", "{}")).values())
    found = read_metadata(fs, path_of(REJECTS))
    if num_rejects and (found is None or found.num_rows != num_rejects):
        yield path_of(REJECTS)
    path = path_of(STATES)
    if (found := read_metadata(fs, path)) is not None:
        if read_footer(found).get("key") != footer.get("key"):
            yield path
    elif fs.exists(path) or _has_states(fs, footer, path):
        yield path


def _has_states(fs: fsspec.AbstractFileSystem, footer: Mapping[str, str], path: str) -> bool:
    """Whether another shard, computed in the same way, has a file of states."""
    for other in list_folder(fs, path.rpartition("/")[0]):
        found = read_metadata(fs, other) if other.endswith(".parquet") else None
        if found is not None:
            others = read_footer(found)
            return all(others.get(name) == footer.get(name) for name in HOW)
    return False
