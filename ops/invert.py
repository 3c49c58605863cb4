"""Invert: turn every crop into a latent, its losses and the image synthesised from the latent."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor, nn

from invertory.generators import Generator
from invertory.generators.state import pack
from invertory.images import Pixels, decode, encode, from_levels, to_uint8
from invertory.inversion import Inversion, Method
from invertory.inversion.drawing import draw_latents, has_state, maps_of
from invertory.metrics.pixel import mse, psnr_db
from invertory.metrics.ssim import ssim
from invertory.ops import schemas
from invertory.ops.ahead import on_all_cores
from invertory.ops.streams import Chunk, reject
from invertory.perceptual import Perceptual

Cell = dict[str, bytes | None]  # of an image column


def seed_of(row_id: str) -> int:
    """Return the seed of a row, which depends on its id alone and not on its batch or shard."""
    return int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:7], "big")


def latent_rows(method: Method, generator: Generator) -> int:
    """Return the number of rows of a stored latent: 1 in W, `num_ws` in W+."""
    return 1 if method.space == "w" else generator.num_ws


def latent_column(latents: npt.NDArray[np.float32]) -> pa.Array:
    """[N, rows, w_dim] => a latent column, without converting numbers to Python objects."""
    kind = schemas.latent_type(*latents.shape[1:])
    flat = pa.array(np.ascontiguousarray(latents, np.float32).reshape(-1))
    inner = pa.FixedSizeListArray.from_arrays(flat, type=kind.value_type)
    return pa.FixedSizeListArray.from_arrays(inner, type=kind)


def schema_of(method: Method, generator: Generator, perceptual: Perceptual) -> pa.Schema:
    """Return the schema of the rows that `Invert` produces."""
    return schemas.latents(
        latent_rows(method, generator),
        generator.w_dim,
        method.terms,
        perceptual.name,
        has_state=has_state(method),
        maps=maps_of(method),
    )


@dataclass(frozen=True, slots=True)
class Crops:
    """Decoded rows of `aligned`."""

    batch: pa.RecordBatch
    levels: Tensor  # [N, H, W, 3] uint8, on the host
    seeds: list[int]


@dataclass(frozen=True, slots=True)
class Inverted:
    """The results of the device for `crops`, copied to the host."""

    crops: Crops
    inversion: Inversion
    synths: Pixels  # [N, H, W, 3]
    scores: dict[str, npt.NDArray[np.float32]]  # column => [N]


@dataclass(frozen=True, kw_only=True)
class Invert:
    """ALIGNED rows => rows of `schemas.latents`; a crop without a finite result becomes a reject.

    It has three steps (`streams.Staged`), so that decoding crops and encoding synths overlap with
    the networks.
    """

    method: Method
    generator: Generator
    perceptual: Perceptual
    device: torch.device
    batch_size: int
    image_quality: int = 95
    networks: Mapping[str, nn.Module] = field(default_factory=dict)  # those in the method's `needs`

    @property
    def schema(self) -> pa.Schema:
        return schema_of(self.method, self.generator, self.perceptual)

    def __call__(self, batch: pa.RecordBatch) -> Chunk:
        return self.finish(self.compute(self.prepare(batch)))

    def prepare(self, batch: pa.RecordBatch) -> Crops:
        """Decode the crops and derive their seeds."""
        files = pc.struct_field(batch.column("crop"), "bytes").to_pylist()
        pixels = on_all_cores(lambda file: decode(file).pixels, files)
        seeds = [seed_of(crop_id) for crop_id in batch.column("crop_id").to_pylist()]
        levels = torch.from_numpy(np.stack(pixels))
        # copies from pinned memory to a GPU are asynchronous
        return Crops(batch, levels.pin_memory() if self._is_gpu else levels, seeds)

    def compute(self, crops: Crops) -> Inverted:
        """Run the networks: latents, synthesised images and their similarity to the crops."""
        targets = from_levels(crops.levels.to(self.device, non_blocking=True))
        inversion = self.method.invert(
            self.generator,
            targets,
            seeds=crops.seeds,
            perceptual=self.perceptual,
            batch_size=self.batch_size,
            networks=self.networks,
        )
        synths, scores = [], []
        for i in range(0, len(targets), self.batch_size):
            rows = slice(i, i + self.batch_size)
            synth, distance = self._synthesised(inversion, rows, targets[rows])
            scores.append(self._scores(synth, targets[rows], distance))
            synths.append(to_uint8(synth))
        joined = {name: np.concatenate([score[name] for score in scores]) for name in scores[0]}
        return Inverted(crops, inversion, np.concatenate(synths), joined)

    def finish(self, done: Inverted) -> Chunk:
        """Return rows for the finite results and rejects for the others."""
        batch, inversion = done.crops.batch, done.inversion
        is_finite = inversion.is_finite.numpy() & np.isfinite(done.scores["psnr_db"])
        rejects = []
        for i in np.flatnonzero(~is_finite):
            default_reason = f"the loss became non-finite at step {int(inversion.steps[i])}"
            reason = inversion.refused.get(int(i), default_reason)
            rejects.append(reject(batch.column("crop_id")[int(i)].as_py(), "non_finite", reason))
        return Chunk(
            batch.num_rows,
            self._rows(done, np.flatnonzero(is_finite)),
            pa.RecordBatch.from_pylist(rejects, schema=schemas.REJECTS),
        )

    def _rows(self, done: Inverted, chosen: npt.NDArray[np.intp]) -> pa.RecordBatch:
        """Build the `chosen` rows, column by column."""
        inversion, batch = done.inversion, done.crops.batch.take(pa.array(chosen))
        columns: dict[str, Any] = {
            "crop_id": batch.column("crop_id"),
            "image_id": batch.column("image_id"),
            "latent": latent_column(inversion.latents.numpy()[chosen]),
            "steps": inversion.steps.numpy()[chosen],
            "best_step": inversion.best_step.numpy()[chosen],
            "seed": np.array(done.crops.seeds, np.int64)[chosen],
            "loss": inversion.loss.numpy()[chosen],
            "synth": on_all_cores(self._synth_cell, list(done.synths[chosen])),
            **{name: values[chosen] for name, values in done.scores.items()},
            **{f"loss_{term}": values.numpy()[chosen] for term, values in inversion.terms.items()},
            **{f"map_{name}": [_grey(m) for m in inversion.maps[name][chosen]]
               for name in maps_of(self.method)},
        }  # fmt: skip
        if has_state(self.method):
            columns["state"] = [
                pack(inversion.state, i) if inversion.state else None for i in chosen
            ]
        schema = self.schema
        arrays = [_array(columns[column.name], column.type) for column in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    @property
    def _is_gpu(self) -> bool:
        return self.device.type == "cuda"

    @torch.no_grad()
    def _synthesised(
        self, inversion: Inversion, rows: slice, targets: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Return synths [n, 3, H, H] in [-1, 1] and distances [n] if the method measured them."""
        if inversion.synths is not None:
            return inversion.synths[rows].to(self.device), inversion.terms["perceptual"][rows]
        image = draw_latents(
            self.method,
            self.generator,
            inversion.latents[rows].to(self.device).expand(-1, self.generator.num_ws, -1),
            {name: tensor[rows].to(self.device) for name, tensor in inversion.state.items()},
            networks=self.networks,
        )
        return resize(image.clamp(-1, 1).float(), targets.shape[-1]), None

    @torch.no_grad()
    def _scores(
        self, synth: Tensor, targets: Tensor, distance: Tensor | None
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return column => values [n]."""
        if distance is None:
            features = (self.perceptual.features(images) for images in (synth, targets))
            distance = self.perceptual.distance(*features)
        scores = {
            "mse": mse(synth, targets),
            "psnr_db": psnr_db(synth, targets),
            "ssim": ssim(synth, targets),
            schemas.perceptual_column(self.perceptual.name): distance,
        }
        return {name: values.float().cpu().numpy() for name, values in scores.items()}

    def _synth_cell(self, synth: Pixels) -> Cell:
        return {"bytes": encode(synth, "jpeg", quality=self.image_quality), "path": None}


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, kind)


def _grey(values: Tensor) -> Cell:
    """[1, h, w] in [0, 1] => the cell of a small grey image."""
    image = to_uint8(2 * values.float().clamp(0, 1).expand(3, -1, -1) - 1)
    return {"bytes": encode(image, "png"), "path": None}


def resize(images: Tensor, size_px: int) -> Tensor:
    """[N, 3, H, W] => [N, 3, size_px, size_px]: area averaging down, bilinear up."""
    if images.shape[-1] == size_px:
        return images
    mode = "area" if images.shape[-1] > size_px else "bilinear"
    return torch.nn.functional.interpolate(images, size=(size_px, size_px), mode=mode)
