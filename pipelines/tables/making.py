"""How a shard is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from invertory.ops.streams import Chunk, Later


@dataclass(frozen=True, kw_only=True)
class Making:
    """How a shard is made: the schema of its rows and its chunks from an input row on."""

    schema: pa.Schema
    chunks: Callable[[int], Iterable[Chunk | Later]]
    num_inputs: int
    footer: Mapping[str, str] = field(default_factory=dict)
