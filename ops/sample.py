"""Sample: draw latents of W from seeds, and score the images they render to."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import torch
from torch import Tensor

from invertory.ops import schemas
from invertory.ops.invert import seed_of
from invertory.ops.render import Failure, Renderer, score_columns
from invertory.ops.streams import Chunk, chunk, reject

DRAWS: Final = pa.schema(
    [pa.field("sample_id", pa.string(), False), pa.field("seed", pa.int64(), False)]
)


def draws(count: int, seed: int = 0, batch_rows: int = 1024) -> Iterator[pa.RecordBatch]:
    """Yield `count` rows (sample_id, seed); a larger `count` extends the rows of a smaller one."""
    for start in range(0, count, batch_rows):
        ids = [f"{seed}-{i:08d}" for i in range(start, min(start + batch_rows, count))]
        yield pa.RecordBatch.from_arrays([ids, [seed_of(row_id) for row_id in ids]], schema=DRAWS)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """DRAWS rows => rows of `schemas.samples`; a sample that cannot be scored becomes a reject.

    `truncation_psi` pulls w towards the mean: w_avg + psi (w - w_avg).
    """

    renderer: Renderer
    truncation_psi: float = 1.0

    @property
    def schema(self) -> pa.Schema:
        return schemas.samples(self.renderer.generator.w_dim, self.renderer.scorer.names)

    def __call__(self, batch: pa.RecordBatch) -> Chunk:
        ids, seeds = batch.column("sample_id").to_pylist(), batch.column("seed").to_pylist()
        w = self._map(seeds)
        rows, rejects = [], []
        for i, result in enumerate(self.renderer.render(w)):
            if isinstance(result, Failure):
                rejects.append(reject(ids[i], result.status, result.reason))
                continue
            row = {"sample_id": ids[i], "seed": seeds[i], "w": w[i].tolist()}
            rows.append(row | score_columns(result.scores))
        return chunk(batch.num_rows, rows, rejects, self.schema)

    @torch.no_grad()
    def _map(self, seeds: list[int]) -> Tensor:
        """N seeds => w [N, 1, w_dim] float32 on the CPU."""
        G, device = self.renderer.generator, self.renderer.device
        z = torch.stack(
            [torch.randn(G.z_dim, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        )
        w = torch.cat(
            [G.mapping(part.to(device)) for part in torch.split(z, self.renderer.batch_size)]
        )
        w_avg = G.w_avg.to(device)
        return (w_avg + self.truncation_psi * (w - w_avg)).float().cpu()[:, None]
