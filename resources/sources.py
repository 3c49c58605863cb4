"""Where pictures come from: a folder, a tar, a Parquet file, a list, a URL, a package, portraits.

An entry's URI says where its bytes lie: a path or URL, `pictures.tar::member`,
`pictures.parquet::row`, `pypi://package==version#member`, `portraits://...`, `digits://...`; how
names are encoded is told in `invertory.resources.entries`.
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
from invertory.resources.atomic import is_local
from invertory.resources.containers import TARS, Container, Parquet, Tar
from invertory.resources.entries import SEPARATOR, Entry, deal, decode, encode
from invertory.resources.folders import (
    describe,
    list_local,
    list_remote,
    place,
    read_local,
    read_remote,
)
from invertory.resources.models import ModelStore
from invertory.resources.outages import Kind, judge
from invertory.resources.redaction import hiding_secrets, redacted
from invertory.resources.roots import Roots

__all__ = ["Entry", "ImageSource", "deal"]

MAX_OPEN = 8  # containers with their indices; a shard's pictures come in order, from a few

fsspec.register_implementation("digits", "invertory.resources.digits.DigitFiles")
fsspec.register_implementation("portraits", "invertory.resources.portraits.PortraitFiles")


class ImageSource(dg.ConfigurableResource):
    """A collection of pictures, listed and read.

    Every file that is not hidden is listed: what is no picture is found out, and counted, when it
    is decoded.
    """

    uri: str = Field(
        default="",
        repr=False,
        description="Folder, .tar, .parquet, fsspec URL (s3://bucket/photos), a pattern with * of "
        "these, or pypi://package==version#pattern.",
    )
    uris: list[str] = Field(default=[], description="Files one by one, instead of `uri`.")
    pattern: str = Field(
        default="", description="Only entries whose URI matches, e.g. *.jpg; * crosses folders."
    )
    max_bytes: int = Field(default=256 << 20, description="Files longer than this are not read.")
    column: str = Field(default="", description="Picture column of a Parquet file; empty: the one.")
    id_column: str = Field(default="", description="Id column of a Parquet file; empty: the row.")
    sha256: str = Field(default="", description="Digest of the archive of a pypi:// address.")
    storage_options: dict[str, Any] = Field(
        default={},
        description="Passed on to fsspec, e.g. endpoint_url; leave credentials to the environment.",
    )
    models: ModelStore | None = Field(
        default=None, description="Fetches and keeps the archives of pypi:// addresses."
    )
    _containers: OrderedDict[str, Container] = PrivateAttr(default_factory=OrderedDict)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _roots: Roots | None = PrivateAttr(default=None)

    def entries(self) -> Iterator[Entry]:
        """What the collection holds, sorted by URI (rows of a Parquet file: by row)."""
        if bool(self.uri) == bool(self.uris):
            raise ValueError(
                f"expected either uri or uris, got uri={redacted(self.uri)!r} and "
                f"{len(self.uris)} uris; set one of them in the recipe"
            )
        with hiding_secrets(shown(self.uri)):
            for entry in self._list():
                if not self.pattern or fnmatchcase(decode(entry.uri), self.pattern):
                    stored = self.stored(entry.uri)
                    yield entry if stored == entry.uri else replace(entry, uri=stored)

    def read(self, uri: str) -> bytes:
        """The bytes of an entry.

        FileNotFoundError: it has vanished; OSError with errno EFBIG: it is longer than
        `max_bytes`; any other OSError: it cannot be read.
        """
        with hiding_secrets(uri):
            return self._read(uri)

    def plain(self, uri: str) -> str:
        """The path or URL behind an entry's URI, with the environment's values; to compare by."""
        _, separator, member = uri.partition(SEPARATOR)
        return shown(self._opened_name(uri)) + separator + decode(member)

    def _opened_name(self, uri: str) -> str:
        """The path or URL to open for an entry's URI; that of the container for its member."""
        return self._mapping.opened(decode(uri.partition(SEPARATOR)[0]))

    def stored(self, uri: str) -> str:
        """A URI as entries have it: `${NAME}` as the recipe says it, and without credentials."""
        if self._mapping.is_plain:
            return uri
        container, separator, member = uri.partition(SEPARATOR)
        name = decode(container)
        stored = self._mapping.stored(name)
        return uri if stored == name else encode(stored) + separator + member

    def length(self, uri: str) -> int:
        """Of the address that an entry lies below; 0 where entries bear the names they open by."""
        return self._mapping.length(decode(uri.partition(SEPARATOR)[0]))

    @property
    def _mapping(self) -> Roots:
        if self._roots is None:
            self._roots = Roots(self._addresses, self._canonical)
        return self._roots

    @property
    def _addresses(self) -> list[str]:
        return [self.uri] if self.uri else self.uris

    def _canonical(self, name: str) -> str:
        """The name under which its filesystem lists what lies at an address."""
        fs, path = place(name, self.storage_options)
        return str(fs.unstrip_protocol(path))

    def _read(self, uri: str) -> bytes:
        name = self._opened_name(uri)
        _, separator, member = uri.partition(SEPARATOR)
        if separator:
            return self._container(name).read(decode(member), self.max_bytes)
        if name.startswith("pypi://"):
            name = str(self._packages().fetch(name, self.sha256 or None))
        if "://" not in name:
            return read_local(name, self.max_bytes)
        return read_remote(name, self.max_bytes, self.storage_options)

    def is_gone(self, uri: str) -> bool:
        """True where `uri` lies in this folder, and the folder is not there."""
        root = expanded(self.uri)
        folder = root.rstrip("/") + "/"
        if not self.uri or "*" in folder or not self._opened_name(uri).startswith(folder):
            return False
        fs, path = place(root, self.storage_options)
        return not fs.exists(path)

    def _list(self) -> Iterator[Entry]:
        uri = expanded(self.uri)
        if self.uris:
            names = sorted({expanded(name) for name in self.uris})
            yield from (describe(name, self.storage_options) for name in names)
        elif uri.startswith("pypi://"):
            yield from self._package(uri)
        elif "*" in _path(uri):
            fs, path = place(uri, self.storage_options)
            for found in sorted(fs.glob(path)):
                yield from self._one_of_many(found if is_local(fs) else fs.unstrip_protocol(found))
        else:
            yield from self._place(uri)

    def _one_of_many(self, name: str) -> Iterator[Entry]:
        """As `_place`; a container that cannot be opened is one entry, and hides no other."""
        if name.endswith((*TARS, ".parquet")):
            try:
                self._container(name)
            except (OSError, ValueError) as error:
                if judge(error) is not Kind.FINAL:
                    raise
                yield Entry(encode(name) + SEPARATOR)
                return
        yield from self._place(name)

    def _place(self, name: str) -> Iterator[Entry]:
        """A container's members, a folder's files, or the one file there is."""
        fs, path = place(name, self.storage_options)
        if fs.isfile(path):
            is_container = _path(name).endswith((*TARS, ".parquet"))
            yield from (
                self._container(name).entries()
                if is_container
                else [describe(name, self.storage_options)]
            )
        elif not fs.isdir(path):
            raise FileNotFoundError(
                errno.ENOENT, "expected a folder or a file of pictures, got nothing there", name
            )
        elif is_local(fs):
            yield from list_local(name.removeprefix("file://"))
        else:
            yield from list_remote(fs, path)

    def _package(self, uri: str) -> Iterator[Entry]:
        archive = uri.partition("#")[0]
        found = self._packages().package_files(uri, self.sha256 or None)
        for member, path in sorted(found.items()):
            yield Entry(encode(f"{archive}#{member}"), path.stat().st_size)

    def _packages(self) -> ModelStore:
        if self.models is None:
            raise ValueError(
                f"expected a model store to open {self.uri}, got none; pass it as `models`"
            )
        return self.models

    def _container(self, name: str) -> Container:
        """Opened, and the one not used for the longest time let go of."""
        with self._lock:
            if name not in self._containers:
                self._containers[name] = self._opened(name)
            self._containers.move_to_end(name)
            while len(self._containers) > MAX_OPEN:
                self._containers.popitem(last=False)
            return self._containers[name]

    def _opened(self, name: str) -> Container:
        if _path(name).endswith(TARS):
            return Tar(name, self.storage_options, self.max_bytes)
        return Parquet(name, self.storage_options, self.column, self.id_column)


def _path(name: str) -> str:
    """A URL without its query, which may sign it and end in anything."""
    return name.partition("?")[0] if scheme_of(name) in WITH_QUERY else name
