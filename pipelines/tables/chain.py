"""The chain of a recipe: its stages, what each depends on, and the key that names a result.

A key is the sha256 of everything a table's shard was made from: the keys of its inputs, the
stage's code version, its part of the recipe and the digests of its networks. A shard whose stored
key equals the wanted one is done; nothing else decides what has to be computed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from invertory.resources.provisional import is_provisional_for

if TYPE_CHECKING:
    from invertory.resources.tables import Store

ALL = "all"
REST = "*"  # every column that is not named


@dataclass(frozen=True, kw_only=True)
class Input:
    """A table that a stage reads: the same shard of it, or all its shards."""

    table: str
    shards: Literal["same", "all"] = "same"


def asset_path(recipe: str, table: str) -> list[str]:
    """["faces", "latents_projector"] of recipe faces and table latents/projector."""
    return [recipe, table.replace("/", "_")]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One table of a recipe: how it depends on the rest. What computes it lies in `verbs`."""

    recipe: str
    table: str  # "aligned", "latents/projector", ...
    inputs: tuple[Input, ...]
    is_sharded: bool
    code_version: str
    config: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)  # name => sha256
    columns: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # column or REST => table.column
    checks: Mapping[str, float] = field(default_factory=dict)  # limits; no part of the key

    @property
    def name(self) -> str:
        return self.table.split("/")[0]

    @property
    def method(self) -> str | None:
        return self.table.split("/", 1)[1] if "/" in self.table else None

    @property
    def asset_path(self) -> list[str]:
        """The asset key: recipe and table; a node of the UI shows the last part and no other."""
        return asset_path(self.recipe, self.table)

    @property
    def gathered_path(self) -> list[str]:
        """The asset key of what it reads of all shards, in one data version."""
        return asset_path(self.recipe, f"gathered/{self.table}")

    @property
    def version(self) -> str:
        """Code and configuration in one word, so that a changed recipe shows as stale."""
        return f"{self.code_version}-{digest(self.config, self.models)[:8]}"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A shard of a stage that is to be computed."""

    stage: Stage
    shard: str
    is_retry: bool = False  # current but for rows that could not be read the last time


def digest(*parts: Any) -> str:
    """sha256 of the parts as canonical JSON."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


class Keys:
    """The stored keys as they are now; each footer is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[tuple[str, str], str | None] = {}
        self.shards = store.shards("entries")

    def __call__(self, table: str, shard: str) -> str | None:
        if (table, shard) not in self._known:
            self._known[table, shard] = self._store.key(table, shard)
        return self._known[table, shard]


@dataclass(frozen=True)
class Chain:
    """The stages of one recipe in the order of the data."""

    recipe: str
    stages: tuple[Stage, ...]

    def stage(self, table: str) -> Stage:
        for stage in self.stages:
            if stage.table == table:
                return stage
        known = ", ".join(stage.table for stage in self.stages)
        raise KeyError(f"recipe {self.recipe!r} has no table {table!r}; it has {known}")

    def inputs(self, stage: Stage, shard: str, keys: Keys) -> list[list[str]]:
        """[[table, shard, key], ...] of what `stage` reads for `shard`."""
        return [
            [wanted.table, name, keys(wanted.table, name) or "missing"]
            for wanted in stage.inputs
            for name in self._input_shards(wanted, shard, keys)
        ]

    def key(self, stage: Stage, shard: str, keys: Keys) -> str:
        """The key that `shard` of `stage` must bear, given the inputs that lie in the store."""
        parts = self.inputs(stage, shard, keys)
        return digest(stage.table, stage.code_version, stage.config, stage.models, parts)

    def gathers(self, stage: Stage) -> list[Input]:
        """The tables of which `stage` reads every shard."""
        return [i for i in stage.inputs if i.shards == "all" and self.stage(i.table).is_sharded]

    def gathering(self, table: str) -> list[Stage]:
        """The stages that read every shard of `table`."""
        return [s for s in self.stages if table in {i.table for i in self.gathers(s)}]

    def gathered(self, stage: Stage, keys: Keys) -> str:
        """One word for all shards that `stage` reads: another as soon as one of them is."""
        return digest([[i.table, name, keys(i.table, name)] for i in self.gathers(stage)
                       for name in keys.shards])  # fmt: skip

    def phases(self) -> list[list[Stage]]:
        """Stages that one run can make of one shard; a phase waits for all shards of the last."""
        level = {"entries": 0}
        phases: list[list[Stage]] = []
        for stage in self.stages:
            waits = {i.table for i in self.gathers(stage)}
            level[stage.table] = max((level[i.table] + (i.table in waits) for i in stage.inputs),
                                     default=0)  # fmt: skip
            phases.extend([] for _ in range(level[stage.table] + 1 - len(phases)))
            phases[level[stage.table]].append(stage)
        return phases

    def pending(self, store: Store) -> Iterator[Step]:
        """What is missing or stale, in the order of the data; downstream of it counts too.

        A shard whose unread rows are tried again is a retry: what was made of it stays current.
        """
        keys = Keys(store)
        dirty: set[tuple[str, str]] = set()
        for stage in self.stages:
            for shard in self.shards(stage, keys):
                upstream = {(i[0], i[1]) for i in self.inputs(stage, shard, keys)}
                stored, wanted = keys(stage.table, shard), self.key(stage, shard, keys)
                is_retry = is_provisional_for(stored, wanted) and not upstream & dirty
                if is_retry:
                    yield Step(stage=stage, shard=shard, is_retry=True)
                elif upstream & dirty or stored != wanted:
                    dirty.add((stage.table, shard))
                    yield Step(stage=stage, shard=shard)

    def shards(self, stage: Stage, keys: Keys) -> list[str]:
        return keys.shards if stage.is_sharded else [ALL]

    def waves(self) -> list[list[Stage]]:
        """Stages in groups that one run can compute: sharded or not, inputs in earlier groups."""
        waves: list[list[Stage]] = []
        level: dict[str, int] = {"entries": -1}
        for stage in self.stages:
            wave = max((level[i.table] for i in stage.inputs), default=0)
            wave = max(wave, 0)
            while not self._fits(stage, wave, waves):
                wave += 1
            level[stage.table] = wave
            waves.extend([] for _ in range(wave + 1 - len(waves)))
            waves[wave].append(stage)
        return waves

    def _fits(self, stage: Stage, wave: int, waves: list[list[Stage]]) -> bool:
        if wave >= len(waves):
            return True
        same_kind = all(other.is_sharded == stage.is_sharded for other in waves[wave])
        names = {other.table for other in waves[wave]}
        waits = any(i.shards == "all" and i.table in names for i in stage.inputs)
        return same_kind and not (waits and stage.is_sharded)

    def _input_shards(self, wanted: Input, shard: str, keys: Keys) -> list[str]:
        if wanted.table != "entries" and not self.stage(wanted.table).is_sharded:
            return [ALL]
        return [shard] if wanted.shards == "same" else keys.shards
