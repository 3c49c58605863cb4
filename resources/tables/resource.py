"""The Dagster resource that gives the tables of a recipe."""

from typing import Any

import dagster as dg
from pydantic import Field

from invertory.resources.tables.store import Store


class Tables(dg.ConfigurableResource["Tables"]):
    """Tables of every recipe, on a local disk or an object store."""

    root: str = Field(
        default="store",
        description="Folder or fsspec URL of the store: ./store, /data/store, s3://bucket/store.",
    )
    storage_options: dict[str, Any] = Field(
        default={},
        description="Passed on to fsspec, e.g. endpoint_url; leave credentials to the environment.",
    )

    def store(self, recipe: str) -> Store:
        """The tables of one recipe."""
        return Store(self.root, recipe, **self.storage_options)
