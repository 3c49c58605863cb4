"""A running stage: its recipe, device and progress, and the plan of a shard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from invertory.ops import streams
from invertory.ops.streams import Chunk, PendingChunk, Verb

if TYPE_CHECKING:
    from invertory.pipelines.progress.display import Progress
    from invertory.pipelines.recipe.recipe import Recipe
    from invertory.pipelines.tables.stage import Stage
    from invertory.resources.gpu import Gpu, Lease
    from invertory.resources.models import ModelStore

Inputs = Callable[[], Iterable[pa.RecordBatch]]
Build = Callable[[contextlib.ExitStack, "Lease | None"], Verb]


@dataclass(frozen=True, kw_only=True)
class ShardPlan:
    """The schema of a shard, and its chunks from an input row on."""

    schema: pa.Schema
    chunks: Callable[[int], Iterable[Chunk | PendingChunk]]
    num_inputs: int
    footer: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StageRun:
    """One stage of one recipe with its resources."""

    recipe: Recipe
    stage: Stage
    models: ModelStore
    progress: Progress
    gpu: Gpu | None = None
    leases: list[Lease] = field(default_factory=list)  # all it has held
    key: str = ""  # of the shard being computed

    def plan(
        self, schema: pa.Schema, build: Build, inputs: Inputs, num_inputs: int, **footer: str
    ) -> ShardPlan:
        """Stream the inputs through the verb that `build` returns, chunk by chunk.

        Networks are loaded and a device is leased only if there is something to compute.
        """

        def chunks(start: int) -> Iterator[Chunk | PendingChunk]:
            with contextlib.ExitStack() as stack:
                if start >= num_inputs:
                    return
                lease = stack.enter_context(self._lease())
                verb = build(stack, lease)
                bar = stack.enter_context(self.progress.stage(self.stage.table, num_inputs, start))
                yield from streams.run(
                    verb,
                    inputs(),
                    commit_rows=self.recipe.resources.commit_rows,
                    start=start,
                    progress=lambda done: bar.advance(done.num_inputs, done.rejects.num_rows),
                )

        return ShardPlan(schema=schema, chunks=chunks, num_inputs=num_inputs, footer=footer)

    @contextlib.contextmanager
    def _lease(self) -> Iterator[Lease | None]:
        """A device for the length of the block, if the stage computes on one."""
        if self.gpu is None:
            yield None
            return
        with self._device().lease(waiting=self.progress.note) as lease:
            self.leases.append(lease)
            yield lease

    def _device(self) -> Gpu:
        """The GPU resource with the recipe's batch size; its device and slots replace auto."""
        assert self.gpu is not None
        wanted = self.recipe.resources
        device = wanted.device if self.gpu.device == "auto" else self.gpu.device
        slots = self.gpu.cpu_slots if wanted.cpu_slots == "auto" else wanted.cpu_slots
        settings = {"device": device, "batch_size": wanted.batch_size, "cpu_slots": slots}
        return self.gpu.model_copy(update=settings)
