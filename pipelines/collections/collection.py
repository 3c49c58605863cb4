"""A recipe's collection: one or several sources of images, listed as one."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import TYPE_CHECKING

from invertory.pipelines.collections.demo import hostile, photographs
from invertory.resources.addresses import Address
from invertory.resources.models import silent
from invertory.resources.outages import OutageError
from invertory.resources.sources import ImageSource

if TYPE_CHECKING:
    from invertory.pipelines.networks.resolve import Received
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.resources.entries import Entry
    from invertory.resources.models import ModelStore

DEMOS = {"demo://photographs": photographs, "demo://hostile": hostile}


class Collection:
    """The sources of `recipe.collection.uris`; the URI of an entry determines its source."""

    def __init__(self, recipe: Recipe, models: ModelStore, received: Received = silent) -> None:
        self._sources = [
            ImageSource(
                uri=str(DEMOS[uri](models, received)) if uri in DEMOS else Address(uri).written,
                pattern=recipe.collection.pattern or "",
                max_bytes=recipe.limits.max_bytes,
                models=models,
            )
            for uri in recipe.collection.uris
        ]

    def entries(self) -> Iterator[Entry]:
        """List the entries of all sources, sorted by URI."""
        return heapq.merge(*(source.entries() for source in self._sources))

    def read(self, uri: str) -> bytes:
        """Return the bytes behind an entry's URI; raises like `ImageSource.read`.

        If the whole source has vanished (for example, a disk is not mounted), a missing file is an
        outage, which says nothing about the file.
        """
        source = self._source(uri)
        try:
            return source.read(uri)
        except FileNotFoundError as error:
            if source.is_gone(uri):
                raise OutageError(
                    f"expected the collection {source.uri}, got nothing there; mount or restore it"
                ) from error
            raise

    def plain(self, uri: str) -> str:
        """Return the path or URL of an entry, with environment variables expanded, to compare."""
        return self._source(uri).plain(uri)

    def stored(self, name: str) -> str:
        """Return a URI as `entries` yields it, even if environment variables are expanded in it."""
        return next((new for s in self._sources if (new := s.stored(name)) != name), name)

    def _source(self, uri: str) -> ImageSource:
        """Return the source whose address is the longest prefix of the URI."""
        if len(self._sources) == 1:
            return self._sources[0]
        return max(self._sources, key=lambda source: source.root_length(uri))
