"""A stage: one table of one recipe and everything that its key depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from invertory.pipelines.digests import digest

if TYPE_CHECKING:
    from invertory.pipelines.tables.page import Table

ALL = "all"
REST = "*"  # every column that is not named

Columns = Mapping[str, tuple[str, ...]]  # column or REST => ("<table>.<column>", ...)


@dataclass(frozen=True, kw_only=True)
class Input:
    """A table that a stage reads: the same shard, or all shards."""

    table: str
    shards: Literal["same", "all"] = "same"


def asset_path(recipe: str, table: str) -> list[str]:
    """["faces", "latents_projector"] of recipe faces and table latents/projector."""
    return [recipe, table.replace("/", "_")]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One table of a recipe with everything that its key depends on."""

    page: Table
    recipe: str
    table: str  # "aligned", "latents/projector", ...
    inputs: tuple[Input, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)  # name => sha256
    columns: Columns = field(default_factory=dict)  # lineage; no part of the key
    limits: Mapping[str, float] = field(default_factory=dict)  # of checks; no part of the key

    @property
    def name(self) -> str:
        return self.page.name

    @property
    def is_sharded(self) -> bool:
        return self.page.is_sharded

    @property
    def code_version(self) -> str:
        return self.page.code_version

    @property
    def method(self) -> str | None:
        return self.table.split("/", 1)[1] if "/" in self.table else None

    @property
    def asset_path(self) -> list[str]:
        """The asset key: recipe and table. A node of the UI shows only the last part."""
        return asset_path(self.recipe, self.table)

    @property
    def gathered_path(self) -> list[str]:
        """The asset key of all shards that it reads, in one data version."""
        return asset_path(self.recipe, f"gathered/{self.table}")

    @property
    def version(self) -> str:
        """Code and configuration in one version, so that a changed recipe shows as stale."""
        return f"{self.code_version}-{digest(self.config, self.models)[:8]}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A shard of a stage that has to be computed."""

    stage: Stage
    shard: str
    is_retry: bool = False  # current except for rows that could not be read the last time
