"""Label: crops to raw scores; a crop that a scorer cannot read is a reject.

A score is read off the crop, or looked up in labels that came with the collection.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from invertory.images import BadPicture, Pixels, decode
from invertory.ops.schemas import attributes
from invertory.ops.streams import Chunk, chunk, reject
from invertory.scoring import BadScore, Scorer, Scores

BATCH_CROPS: Final = 32


class Labels(Protocol):
    """What is known of a collection's pictures without looking at them."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def find(self, uri: str) -> Scores | BadScore:
        """A score under each of `names` for the picture at `uri`, or why there is none."""
        ...


class Label:
    """Rows of `aligned` => rows of `attributes`, with `score_<name>` of each of `names`.

    Each name must come from one scorer or one table of labels, and one only.
    """

    def __init__(
        self, scorers: Sequence[Scorer], names: Sequence[str], labels: Sequence[Labels] = ()
    ) -> None:
        sources: list[Scorer | Labels] = [*scorers, *labels]
        offered = [name for source in sources for name in source.names]
        for name in names:
            if offered.count(name) != 1:
                raise ValueError(
                    f"attribute {name!r} is given by {offered.count(name)} scorers, expected one; "
                    f"offered are {sorted(offered)}"
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
        """Each crop with what the scorers say of it; `NUM_TOGETHER` are decoded at a time."""
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
    """All of `names` for each picture uint8 [H, W, 3], or the first reason against."""
    return [_require_finite(scores, names) for scores in _merge_scores(scorers, images)]


def _merge_scores(scorers: Sequence[Scorer], images: Sequence[Pixels]) -> list[Scores | BadScore]:
    """What all scorers say of each picture; the first reason against counts."""
    joined: list[Scores | BadScore] = [{} for _ in images]
    for scorer in scorers if images else ():
        for i, result in enumerate(scorer.score(images)):
            previous = joined[i]
            if not isinstance(previous, BadScore):
                joined[i] = result if isinstance(result, BadScore) else previous | result
    return joined


def _require_finite(scores: Scores | BadScore, names: Sequence[str]) -> Scores | BadScore:
    """The scores of `names` alone, all of them finite."""
    if isinstance(scores, BadScore):
        return scores
    for name in names:
        if not np.isfinite(scores[name]):
            return BadScore(f"the score {name} is {scores[name]}")
    return {name: scores[name] for name in names}


def _decode_crop(crop: bytes) -> Pixels | BadScore:
    try:
        return decode(crop).pixels
    except BadPicture as error:
        return BadScore(f"the crop is {error.status}: {error.reason}")
