"""Edit: move every latent along every boundary by every step, then render and score the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import torch
from torch import Tensor

from invertory.boundaries import Boundary
from invertory.editing.linear import Mode, edit, parse_layers
from invertory.ops import schemas
from invertory.ops.render import Failure, Renderer, read_latents, read_states, score_columns
from invertory.ops.streams import Chunk, chunk, reject


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSpec:
    """Steps along one boundary.

    A step is a distance in W along the unit normal ("distance") or a multiple of the boundary's
    spread ("spread"). In "absolute" mode a step is the final distance from the plane.
    """

    attribute: str
    steps: tuple[float, ...]
    layers: str = "all"
    unit: Literal["distance", "spread"] = "distance"
    mode: Mode = "relative"


@dataclass(frozen=True, kw_only=True)
class Edit:
    """LATENTS rows => rows of `schemas.edits`, crop x attribute x step.

    An edit whose image cannot be scored becomes a reject under its edit_id. Latents are stored
    with all rows of W+, since an edit may move only some of them.
    """

    renderer: Renderer
    boundaries: Mapping[str, Boundary]
    specs: Sequence[EditSpec]

    def __post_init__(self) -> None:
        names = [spec.attribute for spec in self.specs]
        missing = sorted(set(names) - set(self.boundaries))
        if missing:
            raise ValueError(
                f"expected boundaries for the edits {missing}, got {sorted(self.boundaries)}; "
                "fit or import them first"
            )
        if len(set(names)) < len(names):
            raise ValueError(
                f"expected each attribute once in the edits, got {names}; "
                "put all steps of an attribute into one edit"
            )
        for spec in self.specs:
            _check(spec, self.boundaries[spec.attribute], self.renderer.generator.num_ws)

    @property
    def schema(self) -> pa.Schema:
        G = self.renderer.generator
        return schemas.edits(G.num_ws, G.w_dim, self.renderer.scorer.names)

    def __call__(self, batch: pa.RecordBatch) -> Chunk:
        w_plus = read_latents(batch.column("latent"))
        w_plus = w_plus.expand(-1, self.renderer.generator.num_ws, -1)
        names = self._names(batch)
        latents = torch.cat([self._move(w[None], spec) for w in w_plus for spec in self.specs])
        num_edits = len(names) // max(batch.num_rows, 1)
        states = [state for state in read_states(batch) for _ in range(num_edits)]
        results = self.renderer.render(latents, states, w_plus.repeat_interleave(num_edits, 0))
        rows, rejects = [], []
        for name, latent, result in zip(names, latents, results, strict=True):
            if isinstance(result, Failure):
                rejects.append(reject(name["edit_id"], result.status, result.reason))
                continue
            image = self.renderer.stored(result.pixels)
            cells = {"latent": latent.tolist(), "picture": image}
            rows.append(name | cells | score_columns(result.scores))
        return chunk(batch.num_rows, rows, rejects, self.schema)

    def _names(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        """Return the cells that identify each edit, in the order of the latents."""
        crops, images = (batch.column(name).to_pylist() for name in ("crop_id", "image_id"))
        return [
            _name(crop_id, image_id, spec, step)
            for crop_id, image_id in zip(crops, images, strict=True)
            for spec in self.specs
            for step in spec.steps
        ]

    def _move(self, w_plus: Tensor, spec: EditSpec) -> Tensor:
        """w_plus [1, num_ws, w_dim] => [steps, num_ws, w_dim]."""
        boundary = self.boundaries[spec.attribute]
        scale = (boundary.spread or 1.0) if spec.unit == "spread" else 1.0
        steps = torch.tensor(spec.steps, dtype=torch.float64) * scale
        return edit(
            w_plus.expand(len(steps), -1, -1),
            boundary.normal,
            steps,
            spec.layers,
            mode=spec.mode,
            offset=boundary.offset or 0.0,
        )


def _name(crop_id: str, image_id: str, spec: EditSpec, step: float) -> dict[str, Any]:
    return {
        "edit_id": f"{crop_id}:{spec.attribute}:{step:+g}",
        "crop_id": crop_id,
        "image_id": image_id,
        "attribute": spec.attribute,
        "step": step,
        "layers": spec.layers,
    }


def _check(spec: EditSpec, boundary: Boundary, num_ws: int) -> None:
    parse_layers(spec.layers, num_ws)
    if not spec.steps or len({f"{step:+g}" for step in spec.steps}) < len(spec.steps):
        raise ValueError(
            f"expected distinct steps for {spec.attribute!r}, got {spec.steps}; name each once"
        )
    if spec.mode == "absolute" and boundary.offset is None:
        raise ValueError(
            f"expected a boundary with a plane for absolute steps of {spec.attribute!r}, got a "
            "direction without one; calibrate it, or use relative steps"
        )
    if spec.unit == "spread" and not boundary.spread:
        raise ValueError(
            f"expected a boundary with a spread for {spec.attribute!r}, got none; "
            "calibrate it, or use unit 'distance'"
        )
