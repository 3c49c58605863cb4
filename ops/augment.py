"""Augment: give every latent a partner with its protected attribute flipped and its target kept.

The partner's latent has a closed form (`invertory.debias`). A linear boundary is only a proxy for
an attribute, so the partner's image is scored again and rejected if a label is not as intended.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from invertory.boundaries import Boundary
from invertory.debias import partner
from invertory.ops import schemas
from invertory.ops.render import (
    Failure,
    Rendered,
    Renderer,
    read_latents,
    read_states,
    score_columns,
)
from invertory.ops.streams import Chunk, chunk, reject

Group = tuple[bool, bool]  # (target label, protected label)


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """An attribute with its decision threshold: the label is positive where score >= threshold."""

    score: str  # name of the score
    threshold: float
    boundary: Boundary


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Rows of `scored.join_scores` => rows of `schemas.augmentation`.

    The labels of an original come from the scores of its crop, those of a partner from the scores
    of its synthesised image. The distances to the `extra` boundaries are kept too. `min_distance`
    is the minimum distance of a partner beyond the protected plane (0: the paper's reflection).
    """

    renderer: Renderer
    target: Label
    protected: Label
    extra: Sequence[Boundary] = ()
    min_distance: float = 0.0

    def __post_init__(self) -> None:
        for label in (self.target, self.protected):
            _ = label.boundary.plane  # raises for a direction without a plane, before any work
            if label.score not in self.renderer.scorer.names:
                raise ValueError(
                    f"expected a scorer of {label.score!r} to check the partners, got "
                    f"{list(self.renderer.scorer.names)}; add it to the recipe's attributes"
                )

    @property
    def schema(self) -> pa.Schema:
        G = self.renderer.generator
        return schemas.augmentation(G.num_ws, G.w_dim, self.renderer.scorer.names)

    def __call__(self, batch: pa.RecordBatch) -> Chunk:
        ids = batch.column("crop_id").to_pylist()
        groups = self._groups(batch)
        rows: list[dict[str, Any]] = []
        rejects = [
            reject(
                ids[i], "not_scored", "the crop has no score for its target or protected attribute"
            )
            for i, group in enumerate(groups)
            if group is None
        ]
        scored = {i: group for i, group in enumerate(groups) if group is not None}
        if scored:
            images = batch.column("image_id").to_pylist()
            for (i, group), (latent, result) in zip(
                scored.items(), self._partners(batch, scored), strict=True
            ):
                reason = self._failure(group, result)
                if isinstance(result, Failure) or reason is not None:
                    rejects.append(reject(ids[i], *(reason or ("failed", ""))))
                else:
                    rows.append(self._row(ids[i], images[i], group, latent, result))
        return chunk(batch.num_rows, rows, rejects, self.schema)

    def _groups(self, batch: pa.RecordBatch) -> list[Group | None]:
        """Return the labels of each crop; None where a score is missing."""
        scores = [
            batch.column(f"score_{label.score}").to_pylist()
            for label in (self.target, self.protected)
        ]
        return [
            None
            if a is None or g is None
            else (a >= self.target.threshold, g >= self.protected.threshold)
            for a, g in zip(*scores, strict=True)
        ]

    def _partners(
        self, batch: pa.RecordBatch, scored: Mapping[int, Group]
    ) -> Iterator[tuple[Tensor, Rendered | Failure]]:
        """Yield the latent [num_ws, w_dim] float32 and the result for each row in `scored`."""
        rows = list(scored)
        origins = read_latents(batch.column("latent"))[rows]
        origins = origins.expand(-1, self.renderer.generator.num_ws, -1)
        latents = partner(
            origins,
            self.target.boundary,
            self.protected.boundary,
            self.extra,
            min_distance=self.min_distance,
            is_protected=torch.tensor([group[1] for group in scored.values()]),
        )
        known = read_states(batch)
        states = [known[row] for row in rows] if known else ()
        return zip(latents, self.renderer.render(latents, states, origins), strict=True)

    def _failure(self, group: Group, result: Rendered | Failure) -> tuple[str, str] | None:
        """Return (status, reason) if the image does not have the intended labels."""
        if isinstance(result, Failure):
            return result.status, result.reason
        target, protected = (result.scores[label.score] for label in (self.target, self.protected))
        if (target >= self.target.threshold) != group[0]:
            words = f"{self.target.score} is {target:.4g}, threshold {self.target.threshold:g}"
            return "target_changed", words
        if (protected >= self.protected.threshold) == group[1]:
            limit = self.protected.threshold
            return (
                "protected_kept",
                f"{self.protected.score} is {protected:.4g}, threshold {limit:g}",
            )
        return None

    def _row(
        self, crop_id: str, image_id: str, group: Group, latent: Tensor, result: Rendered
    ) -> dict[str, Any]:
        return {
            "sample_id": f"{crop_id}:partner",
            "crop_id": crop_id,
            "image_id": image_id,
            "target_label": group[0],
            "protected_label": not group[1],
            "distance_target": float(self.target.boundary.distance(latent[None])),
            "distance_protected": float(self.protected.boundary.distance(latent[None])),
            "latent": latent.tolist(),
            "picture": self.renderer.stored(result.pixels),
            **score_columns(result.scores),
        }
