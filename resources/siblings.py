"""The files that a table file needs beside it: its rejects and the states of its rows.

The footer of the table file names them with a digest of their rows (`siblings`). A shard is done
only while all of them are there; one that is lost or was replaced is made again with its table.
"""

import json
from collections.abc import Callable, Iterator, Mapping

import fsspec

from invertory.resources import asides
from invertory.resources.parquet import read_footer, read_metadata
from invertory.resources.parts import list_folder
from invertory.resources.seals import content_digest

REJECTS = "_rejects/"
FOLDERS = (REJECTS, asides.FOLDER)
PathOf = Callable[[str], str]  # "" or a folder of FOLDERS => the shard's file there
HOW = ("code_version", "config", "models")  # footer entries that decide whether rows have states


def entry(contents: Mapping[str, str]) -> dict[str, str]:
    """The footer entry of siblings by folder, each with the digest of its rows."""
    return {"siblings": json.dumps(dict(sorted(contents.items())))}


def faults(
    fs: fsspec.AbstractFileSystem, footer: Mapping[str, str], path_of: PathOf
) -> Iterator[str]:
    """Paths of siblings that are missing, cannot be read or belong to other rows.

    Only footers are read: `invertory.resources.verification` reads the rest.
    """
    if "siblings" not in footer:
        yield from _faults_of_earlier(fs, footer, path_of)
        return
    for folder, content in json.loads(footer["siblings"]).items():
        found = read_metadata(fs, path_of(folder))
        if found is None or content_digest(found) != content:
            yield path_of(folder)


def _faults_of_earlier(
    fs: fsspec.AbstractFileSystem, footer: Mapping[str, str], path_of: PathOf
) -> Iterator[str]:
    """The same for a file whose footer names no siblings: what can be told from the others."""
    num_rejects = sum(json.loads(footer.get("rejects", "{}")).values())
    found = read_metadata(fs, path_of(REJECTS))
    if num_rejects and (found is None or found.num_rows != num_rejects):
        yield path_of(REJECTS)
    path = path_of(asides.FOLDER)
    if (found := read_metadata(fs, path)) is not None:
        if read_footer(found).get("key") != footer.get("key"):
            yield path
    elif fs.exists(path) or _has_states(fs, footer, path):
        yield path


def _has_states(fs: fsspec.AbstractFileSystem, footer: Mapping[str, str], path: str) -> bool:
    """Whether a shard that was made in the same way has its states in a file."""
    for other in list_folder(fs, path.rpartition("/")[0]):
        found = read_metadata(fs, other) if other.endswith(".parquet") else None
        if found is not None:
            made = read_footer(found)
            return all(made.get(name) == footer.get(name) for name in HOW)
    return False
