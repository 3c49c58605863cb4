"""The chain of a recipe: what each stage reads, the key of a result, and what has to be computed.

A key is the sha256 of everything that a shard of a table was made from: the keys of its inputs, the
code version, the stage's section of the recipe and the digests of its networks. A shard whose
stored key equals the wanted one is done. Nothing else decides what has to be computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from invertory.pipelines.digests import digest
from invertory.pipelines.tables.stage import ALL, Input, Stage, Step
from invertory.resources.provisional import is_provisional_for

if TYPE_CHECKING:
    from invertory.resources.tables import Store


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

    def _input_shards(self, wanted: Input, shard: str, keys: Keys) -> list[str]:
        if wanted.table != "entries" and not self.stage(wanted.table).is_sharded:
            return [ALL]
        return [shard] if wanted.shards == "same" else keys.shards
