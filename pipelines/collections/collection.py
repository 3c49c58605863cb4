"""A recipe's collection: one or several places of pictures, listed as one."""

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
    """The places of `recipe.collection.uris`; an entry's URI says in which it lies."""

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
        """What all places hold, sorted by URI."""
        return heapq.merge(*(source.entries() for source in self._sources))

    def read(self, uri: str) -> bytes:
        """The bytes behind an entry's URI; raises as `ImageSource.read` does.

        A file that has vanished with the whole place (a disk that is not mounted, say) is an
        outage, and says nothing about the file.
        """
        source = self._source(uri)
        try:
            return source.read(uri)
        except FileNotFoundError as error:
            if source.is_gone(uri):
                raise OutageError(f"the collection {source.uri} is not there") from error
            raise

    def plain(self, uri: str) -> str:
        """The path or URL behind an entry's URI, with the environment's values; to compare by."""
        return self._source(uri).plain(uri)

    def stored(self, name: str) -> str:
        """The URI as `entries` gives it, of one that may still have the environment's values."""
        return next((new for s in self._sources if (new := s.stored(name)) != name), name)

    def _source(self, uri: str) -> ImageSource:
        """That below whose address the entry lies; any where none is nearer than the others."""
        if len(self._sources) == 1:
            return self._sources[0]
        return max(self._sources, key=lambda source: source.length(uri))
