"""Label: crops to raw scores; a crop that a scorer cannot read is a reject."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from invertory.images import BadPicture, Pixels, decode
from invertory.scoring import BadScore, Scorer, Scores
from ops.schemas import attributes
from ops.streams import Chunk, chunk, reject


class Label:
    """Rows of `aligned` => rows of `attributes`, with `score_<name>` of each of `names`.

    Each name must come from one scorer, and one only.
    """

    def __init__(self, scorers: Sequence[Scorer], names: Sequence[str]) -> None:
        offered = [name for scorer in scorers for name in scorer.names]
        for name in names:
            if offered.count(name) != 1:
                raise ValueError(
                    f"attribute {name!r} is given by {offered.count(name)} scorers, expected one; "
                    f"offered are {sorted(offered)}"
                )
        self._scorers = tuple(scorers)
        self._names = tuple(names)
        self._schema = attributes(names)

    def __call__(self, aligned: pa.RecordBatch) -> Chunk:
        rows: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        columns = ("crop_id", "image_id", "crop")
        for crop_id, image_id, crop in zip(
            *(aligned.column(name).to_pylist() for name in columns), strict=True
        ):
            scores = self._scores(crop["bytes"])
            if isinstance(scores, BadScore):
                rejects.append(reject(crop_id, "not_scored", scores.reason))
            else:
                named = {f"score_{name}": scores[name] for name in self._names}
                rows.append({"crop_id": crop_id, "image_id": image_id, **named})
        return chunk(aligned.num_rows, rows, rejects, self._schema)

    def _scores(self, crop: bytes) -> Scores | BadScore:
        try:
            picture = decode(crop).pixels
        except BadPicture as error:
            return BadScore(f"the crop is {error.status}: {error.reason}")
        return score_picture(self._scorers, self._names, picture)


def score_picture(
    scorers: Sequence[Scorer], names: Sequence[str], picture: Pixels
) -> Scores | BadScore:
    """All of `names` for one picture uint8 [H, W, 3], or the first reason against."""
    scores: Scores = {}
    for scorer in scorers:
        (result,) = scorer.score([picture])
        if isinstance(result, BadScore):
            return result
        scores |= result
    for name in names:
        if not np.isfinite(scores[name]):
            return BadScore(f"the score {name} is {scores[name]}")
    return {name: scores[name] for name in names}
