"""A table of made-up latents, every tenth input of which fails, and stores to keep it in."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from invertory.ops import schemas
from invertory.ops.streams import Chunk, reject
from invertory.resources.tables import Published, Store, Tables

After = Callable[[int], Iterator[Chunk]]  # inputs that are done => chunks of the others


@dataclass(frozen=True)
class Latents:
    """The table latents/toy, and its one shard shard-000001."""

    shape: tuple[int, int] = (3, 4)
    key: str = "0123456789abcdef" * 4

    @property
    def schema(self) -> pa.Schema:
        return schemas.latents(*self.shape, ["mse"], "pixels")

    def row(self, i: int) -> dict[str, Any]:
        latent = np.random.default_rng(i).standard_normal(self.shape).astype(np.float32)
        numbers = ("loss", "mse", "psnr_db", "ssim", "perceptual_pixels")
        return {
            "crop_id": f"{i}:0",
            "image_id": str(i),
            "latent": latent.tolist(),
            **{name: i for name in ("steps", "best_step", "seed")},
            **{name: float(i) for name in numbers},
            "synth": {"bytes": bytes([i % 256]) * 10, "path": f"{i}.png"},
            "loss_mse": 0.0,
        }

    def rows(self, start: int, count: int) -> pa.RecordBatch:
        made = [self.row(i) for i in range(start, start + count)]
        return pa.RecordBatch.from_pylist(made, schema=self.schema)

    def chunk(self, start: int, count: int) -> Chunk:
        """Every tenth input fails."""
        inputs = range(start, start + count)
        kept = [self.row(i) for i in inputs if i % 10 != 3]
        lost = [reject(str(i), "failed", f"input {i}") for i in inputs if i % 10 == 3]
        made = pa.RecordBatch.from_pylist(kept, schema=self.schema)
        return Chunk(count, made, pa.RecordBatch.from_pylist(lost, schema=schemas.REJECTS))

    def chunks(self, total: int, size: int, pause_s: float = 0.0) -> After:
        def after(start: int) -> Iterator[Chunk]:
            for first in range(start, total, size):
                time.sleep(pause_s)
                yield self.chunk(first, min(size, total - first))

        return after

    def interrupted(self, start: int) -> Iterator[Chunk]:
        """Three of five chunks, then an error."""
        yield from list(self.chunks(45, 10)(start))[:3]
        raise RuntimeError

    def publish(self, store: Store, after: After, key: str = "", **options: Any) -> Published:
        return store.publish(
            "latents/toy",
            "shard-000001",
            schema=self.schema,
            key=key or self.key,
            footer={"space": "w_plus"},
            chunks=after,
            rejects_schema=schemas.REJECTS,
            **options,
        )

    def write(
        self,
        store: Store,
        batches: Iterable[pa.RecordBatch],
        table: str = "latents/toy",
        *,
        shard: str = "all",
        footer: Any = None,
    ) -> None:
        """At one go."""
        store.write(table, shard, batches, schema=self.schema, key=self.key, footer=footer or {})

    def publish_in(self, root: str, total: int, size: int, pause_s: float) -> None:
        """In a process of its own."""
        self.publish(Store(root, "faces"), self.chunks(total, size, pause_s))

    def read(self, store: Store) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Rows and rejects."""
        made = store.table("latents/toy", "shard-000001").to_pylist()
        return made, store.rejects("latents/toy", "shard-000001").to_pylist()

    def files(self, store: Store) -> list[str]:
        store.fs.invalidate_cache()
        paths = store.fs.find(store.base)
        return sorted(path.rsplit("latents/toy/", 1)[-1] for path in paths)


@pytest.fixture(scope="session")
def latents() -> Latents:
    return Latents()


@pytest.fixture(params=["local", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    name = uuid.uuid4().hex
    if request.param == "local":
        return Tables(root=str(tmp_path)).store("faces")
    if request.param == "memory":
        return Tables(root=f"memory://{name}").store("faces")
    options = request.getfixturevalue("bucket")
    return Tables(root=f"s3://bucket/{name}", storage_options=options).store("faces")


@pytest.fixture
def local(tmp_path: Path) -> Store:
    return Store(str(tmp_path), "faces")
