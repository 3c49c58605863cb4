"""Invert: every crop becomes a latent, its losses, and the picture that the latent gives."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from invertory.generators import Generator
from invertory.generators.state import pack
from invertory.images import decode, encode, to_tensor, to_uint8
from invertory.inversion import Inversion, Method
from invertory.inversion.drawing import drawn, has_state, maps_of
from invertory.metrics.pixel import mse, psnr_db
from invertory.metrics.ssim import ssim
from invertory.perceptual import Perceptual
from ops import schemas
from ops.streams import Chunk, chunk, reject


def seed_of(row_id: str) -> int:
    """A row's seed, from its id alone: the same whatever batch or shard the row lies in."""
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:7], "big")


def latent_rows(method: Method, generator: Generator) -> int:
    """Rows of the stored latent: 1 in W, `num_ws` in W+."""
    return 1 if method.space == "w" else generator.num_ws


def schema_of(method: Method, generator: Generator, perceptual: Perceptual) -> pa.Schema:
    """Of the rows that `Invert` gives."""
    return schemas.latents(
        latent_rows(method, generator),
        generator.w_dim,
        method.terms,
        perceptual.name,
        has_state=has_state(method),
        maps=maps_of(method),
    )


@dataclass(frozen=True, kw_only=True)
class Invert:
    """ALIGNED rows => rows of `schemas.latents`; a crop whose loss left the finite is a reject."""

    method: Method
    generator: Generator
    perceptual: Perceptual
    device: torch.device
    batch_size: int
    picture_quality: int = 95
    networks: Mapping[str, nn.Module] = field(default_factory=dict)  # of the method's `needs`

    @property
    def schema(self) -> pa.Schema:
        return schema_of(self.method, self.generator, self.perceptual)

    def __call__(self, batch: pa.RecordBatch) -> Chunk:
        ids = batch.column("crop_id").to_pylist()
        crops = [decode(cell["bytes"].as_py()).pixels for cell in batch.column("crop")]
        targets = torch.cat([to_tensor(pixels) for pixels in crops])
        seeds = [seed_of(crop_id) for crop_id in ids]
        found = self.method.invert(
            self.generator,
            targets.to(self.device),
            seeds=seeds,
            perceptual=self.perceptual,
            batch_size=self.batch_size,
            networks=self.networks,
        )
        rows, rejects = [], []
        for i, row in enumerate(self._rows(batch, targets, seeds, found)):
            if found.is_finite[i] and np.isfinite(row["psnr_db"]):
                rows.append(row)
            else:
                reason = f"the loss became non-finite at step {int(found.steps[i])}"
                rejects.append(reject(ids[i], "non_finite", reason))
        return chunk(batch.num_rows, rows, rejects, self.schema)

    def _rows(
        self, batch: pa.RecordBatch, targets: Tensor, seeds: list[int], found: Inversion
    ) -> list[dict[str, Any]]:
        synths = self._synthesised(found, targets.shape[-1])
        scores = self._scores(synths, targets)
        return [
            {
                "crop_id": batch.column("crop_id")[i].as_py(),
                "image_id": batch.column("image_id")[i].as_py(),
                "latent": found.latents[i].tolist(),
                "steps": int(found.steps[i]),
                "best_step": int(found.best_step[i]),
                "seed": seeds[i],
                "loss": float(found.loss[i]),
                "synth": self._picture(synths[i]),
                **self._maps(found, i),
                **{name: float(values[i]) for name, values in scores.items()},
                **{f"loss_{term}": float(values[i]) for term, values in found.terms.items()},
                **self._state(found, i),
            }
            for i in range(batch.num_rows)
        ]

    def _state(self, found: Inversion, row: int) -> dict[str, bytes | None]:
        if not has_state(self.method):
            return {}
        return {"state": pack(found.state, row) if found.state else None}

    def _maps(self, found: Inversion, row: int) -> dict[str, dict[str, bytes | None]]:
        return {f"map_{name}": _grey(found.maps[name][row]) for name in maps_of(self.method)}

    @torch.no_grad()
    def _synthesised(self, found: Inversion, size_px: int) -> Tensor:
        """What the latents and their state give: [N, 3, size_px, size_px] on the CPU."""
        pictures = []
        for i in range(0, len(found.latents), self.batch_size):
            part = slice(i, i + self.batch_size)
            latents = found.latents[part].to(self.device)
            picture = drawn(
                self.method,
                self.generator,
                latents.expand(-1, self.generator.num_ws, -1),
                {name: tensor[part].to(self.device) for name, tensor in found.state.items()},
                networks=self.networks,
            )
            pictures.append(resize(picture.clamp(-1, 1).float(), size_px).cpu())
        return torch.cat(pictures)

    @torch.no_grad()
    def _scores(self, synths: Tensor, targets: Tensor) -> dict[str, Tensor]:
        distances = [
            self.perceptual.distance(
                self.perceptual.features(a.to(self.device)),
                self.perceptual.features(b.to(self.device)),
            ).cpu()
            for a, b in zip(
                torch.split(synths, self.batch_size),
                torch.split(targets, self.batch_size),
                strict=True,
            )
        ]
        return {
            "mse": mse(synths, targets),
            "psnr_db": psnr_db(synths, targets),
            "ssim": ssim(synths, targets),
            schemas.perceptual_column(self.perceptual.name): torch.cat(distances),
        }

    def _picture(self, synth: Tensor) -> dict[str, bytes | None]:
        data = encode(to_uint8(synth), "jpeg", quality=self.picture_quality)
        return {"bytes": data, "path": None}


def _grey(values: Tensor) -> dict[str, bytes | None]:
    """[1, h, w] in [0, 1] => the cell of a small grey picture."""
    picture = to_uint8(2 * values.float().clamp(0, 1).expand(3, -1, -1) - 1)
    return {"bytes": encode(picture, "png"), "path": None}


def resize(pictures: Tensor, size_px: int) -> Tensor:
    """[N, 3, H, W] => [N, 3, size_px, size_px]: area averaging down, bilinear up."""
    if pictures.shape[-1] == size_px:
        return pictures
    mode = "area" if pictures.shape[-1] > size_px else "bilinear"
    return torch.nn.functional.interpolate(pictures, size=(size_px, size_px), mode=mode)
