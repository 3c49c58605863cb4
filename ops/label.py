"""Label: turn crops into raw scores; a crop that cannot be scored becomes a reject.

A score comes from a scorer that sees the crop, or from labels that belong to the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from invertory.images import BadImage, Pixels, decode
from invertory.ops.schemas import attributes
from invertory.ops.streams import Chunk, chunk, reject
from invertory.scoring import BadScore, Scorer, Scores

BATCH_CROPS: Final = 32


class Labels(Protocol):
    """Known labels of the images of a collection, looked up by URI."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def find(self, uri: str) -> Scores | BadScore:
        """Return a score under each of `names` for the image at `uri`, or why there is none."""
        ...


class Label:
    """Rows of `aligned` => rows of `attributes`, with a column `score_<name>` for each of `names`.

    Exactly one scorer or one table of labels must provide each name.
    """

    def __init__(
        self, scorers: Sequence[Scorer], names: Sequence[str], labels: Sequence[Labels] = ()
    ) -> None:
        sources: list[Scorer | Labels] = [*scorers, *labels]
        offered = [name for source in sources for name in source.names]
        for name in names:
            if offered.count(name) != 1:
                raise ValueError(
                    f"expected one scorer of the attribute {name!r}, got {offered.count(name)}; "
                    f"the scorers provide {sorted(offered)}"
                )
        self._scorers = tuple(scorers)
        self._labels = tuple(labels)
        self._names = tuple(names)
        self._schema = attributes(names)

    def __call__(self, aligned: pa.RecordBatch) -> Chunk:
        rows: list[dict[str, Any]] = []
        rejects: list[dict[str, Any]] = []
        for crop, scores in self._score_crops(aligned):
            result = _require_finite(self._with_labels(scores, crop["uri"]), self._names)
            if isinstance(result, BadScore):
                rejects.append(reject(crop["crop_id"], "not_scored", result.reason))
            else:
                named = {f"score_{name}": result[name] for name in self._names}
                ids = {"crop_id": crop["crop_id"], "image_id": crop["image_id"]}
                rows.append(ids | named)
        return chunk(aligned.num_rows, rows, rejects, self._schema)

    def _score_crops(
        self, aligned: pa.RecordBatch
    ) -> Iterator[tuple[dict[str, Any], Scores | BadScore]]:
        """Yield each crop with its scores; `BATCH_CROPS` are decoded at a time."""
        columns = aligned.select(["crop_id", "image_id", "uri", "crop"])
        for start in range(0, aligned.num_rows, BATCH_CROPS):
            crops = columns.slice(start, BATCH_CROPS).to_pylist()
            images = [_decode_crop(crop["crop"]["bytes"]) for crop in crops]
            decoded = [image for image in images if not isinstance(image, BadScore)]
            scores = iter(_merge_scores(self._scorers, decoded))
            for crop, image in zip(crops, images, strict=True):
                yield crop, image if isinstance(image, BadScore) else next(scores)

    def _with_labels(self, scores: Scores | BadScore, uri: str) -> Scores | BadScore:
        for labels in self._labels:
            if isinstance(scores, BadScore):
                return scores
            result = labels.find(uri)
            scores = result if isinstance(result, BadScore) else scores | result
        return scores


def score_images(
    scorers: Sequence[Scorer], names: Sequence[str], images: Sequence[Pixels]
) -> list[Scores | BadScore]:
    """Score images uint8 [H, W, 3] => all of `names` for each, or the first reason for failure."""
    return [_require_finite(scores, names) for scores in _merge_scores(scorers, images)]


def _merge_scores(scorers: Sequence[Scorer], images: Sequence[Pixels]) -> list[Scores | BadScore]:
    """Merge the scores of all scorers for each image; the first failure wins."""
    joined: list[Scores | BadScore] = [{} for _ in images]
    for scorer in scorers if images else ():
        for i, result in enumerate(scorer.score(images)):
            previous = joined[i]
            if not isinstance(previous, BadScore):
                joined[i] = result if isinstance(result, BadScore) else previous | result
    return joined


def _require_finite(scores: Scores | BadScore, names: Sequence[str]) -> Scores | BadScore:
    """Return only the scores of `names`, or why one of them is not finite."""
    if isinstance(scores, BadScore):
        return scores
    for name in names:
        if not np.isfinite(scores[name]):
            return BadScore(f"the score {name} is {scores[name]}")
    return {name: scores[name] for name in names}


def _decode_crop(crop: bytes) -> Pixels | BadScore:
    try:
        return decode(crop).pixels
    except BadImage as error:
        return BadScore(f"the crop is {error.status}: {error.reason}")
