"""`set.json` and the manifests of a set: the digests of its files, and their verification.

By default the sizes of files are compared, and the contents of those changed after the set was
written; a thorough verification compares all contents.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import fsspec

from invertory.resources.atomic import replacing

RECORD, MANIFEST = "set.json", "manifest.json"
NAME_CHARS = 16  # of a key
BLOCK_BYTES = 1 << 20
Fault = tuple[str, str]  # path, what is wrong with it


def write_record(
    fs: fsspec.AbstractFileSystem, folder: str, key: str, formats: Sequence[str]
) -> None:
    """List the manifests, or all files of a format without one, with their digests."""
    files = []
    for name in formats:
        path = f"{folder}/{name}/{MANIFEST}"
        paths = [path] if fs.exists(path) else fs.find(f"{folder}/{name}")
        files += [{"name": p[len(folder) + 1 :], "size_bytes": fs.size(p),
                   "sha256": _sha256(fs, p)} for p in paths]  # fmt: skip
    record = {"key": key, "formats": list(formats), "files": files}
    text = json.dumps(record | {"digest": _digest(record)}, indent=2) + "\n"
    with replacing(fs, f"{folder}/{RECORD}") as sink:
        sink.write(text.encode())


def faults_by_record(
    fs: fsspec.AbstractFileSystem,
    folder: str,
    key: str,
    formats: Sequence[str],
    *,
    is_thorough: bool,
) -> Iterator[Fault]:
    """What is wrong with the version in `folder` as the set of `key` in these formats."""
    path = f"{folder}/{RECORD}"
    record = read_json(fs, path)
    if record is None:
        yield path, "it is missing or cannot be read"
        return
    digest = record.pop("digest", None)
    if digest != _digest(record):
        yield path, "its text does not match its digest"
    elif record["key"] != key:
        yield path, f"it has key {record['key'][:NAME_CHARS]}, not {key[:NAME_CHARS]}"
    elif missing := sorted(set(formats) - set(record["formats"])):
        yield path, f"it has no {', '.join(missing)}"
    else:
        yield from _compare(fs, folder, record["files"], RECORD, is_thorough)


def faults_by_manifest(
    fs: fsspec.AbstractFileSystem, folder: str, *, is_thorough: bool
) -> Iterator[Fault]:
    """What is wrong with one format, by its manifest."""
    path = f"{folder}/{MANIFEST}"
    manifest = read_json(fs, path)
    if manifest is None or not isinstance(manifest.get("files"), list):
        yield path, "it is missing or cannot be read"
        return
    yield from _compare(fs, folder, manifest["files"], MANIFEST, is_thorough)


def read_json(fs: fsspec.AbstractFileSystem, path: str) -> dict[str, Any] | None:
    """None where the file is missing or holds no JSON object."""
    fs.invalidate_cache()
    try:
        found = json.loads(fs.cat_file(path))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def changed_at(info: dict[str, Any]) -> float:
    """When a file was written, in seconds since 1970; the names differ by filesystem."""
    for name in ("mtime", "LastModified", "last_modified", "created"):
        if name in info:
            value = info[name]
            return value.timestamp() if isinstance(value, datetime) else float(value)
    return 0.0


def _compare(
    fs: fsspec.AbstractFileSystem,
    folder: str,
    files: list[dict[str, Any]],
    last: str,
    is_thorough: bool,
) -> Iterator[Fault]:
    """Compare files with their record or manifest; `last` was written after all of them."""
    fs.invalidate_cache()
    infos = fs.find(folder, detail=True)
    written_at = changed_at(infos.get(f"{folder}/{last}", {}))
    for file in files:
        path = f"{folder}/{file['name']}"
        info = infos.get(path)
        if info is None:
            yield path, "it is missing"
        elif info["size"] != file["size_bytes"]:
            yield path, f"it has {info['size']} of {file['size_bytes']} bytes"
        elif (is_thorough or changed_at(info) > written_at) and (
            _sha256(fs, path) != file["sha256"]
        ):
            yield path, "its bytes do not match its sha256"
        elif path.endswith(f"/{MANIFEST}"):
            yield from faults_by_manifest(fs, path.rpartition("/")[0], is_thorough=is_thorough)


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _sha256(fs: fsspec.AbstractFileSystem, path: str) -> str:
    found = hashlib.sha256()
    with fs.open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            found.update(block)
    return found.hexdigest()
